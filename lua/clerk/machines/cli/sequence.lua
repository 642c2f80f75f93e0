--- The same for several machines, one after the other.

local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local sequence = {}

--- The IDs on one line, for the next command line.
local function report(machines, at, participle)
  local left = {}
  for i = at, #machines do
    left[#left + 1] = text.of(machines[i].id)
  end
  terminal.note(("%d of %d machines were %s. These were not: %s"):format(at - 1, #machines,
    participle, table.concat(left, " ")))
end

--- Calls f(machine) for each machine. When that fails, says how many were done and lists the IDs of
--- the others, then raises the error.
---@param machines { id: string }[]
---@param participle string "deleted"
---@param f fun(machine: { id: string })
function sequence.each(machines, participle, f)
  for i, machine in ipairs(machines) do
    local ok, problem = pcall(f, machine)
    if not ok then
      if #machines > 1 then
        report(machines, i, participle)
      end
      error(problem, 0)
    end
  end
end

return sequence
