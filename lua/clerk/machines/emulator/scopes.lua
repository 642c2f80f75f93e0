--- Directed scopes between machines: `from` may call `to`.

local scopes = {}

---@param from clerk.machines.emulator.Machine
---@param to clerk.machines.emulator.Machine
---@return boolean
function scopes.exists(from, to)
  return to.callers[from] == true
end

---@param from clerk.machines.emulator.Machine
---@param to clerk.machines.emulator.Machine
function scopes.create(from, to)
  from.scopes[#from.scopes + 1] = to
  to.callers[from] = true
end

---@param from clerk.machines.emulator.Machine
---@param to clerk.machines.emulator.Machine
function scopes.delete(from, to)
  to.callers[from] = nil
  for i, callee in ipairs(from.scopes) do
    if callee == to then
      return table.remove(from.scopes, i)
    end
  end
end

---Deletes every scope that names a machine.
---@param machine clerk.machines.emulator.Machine
function scopes.delete_all(machine)
  for caller in pairs(machine.callers) do
    scopes.delete(caller, machine)
  end
  for i = #machine.scopes, 1, -1 do
    scopes.delete(machine, machine.scopes[i])
  end
end

return scopes
