--- The metatable of all results, with what `tostring` shows of them: an identity, and no secret.

local core = require "clerk.machines.core"

local Result = core.result
local clean = core.clean -- rather than the module, since Lua's registry keeps `Result` forever

local function text(value)
  return type(value) == "string" and value or "?"
end

local shown = {
  machine = function(self)
    if self.deleted then
      return "machine " .. text(self.id) .. " (deleted)"
    end
    return "machine " .. text(self.id) .. " (" .. text(self.name) .. ")"
  end,
  machine_secret_key = function()
    return "machine_secret_key (hidden)"
  end,
  machine_scope = function(self)
    local suffix = self.deleted and " (deleted)" or ""
    return "machine_scope " .. text(self.from_machine_id) .. " -> " .. text(self.to_machine_id)
      .. suffix
  end,
}

Result.__name = "clerk.machines.Result"

local function describe_list(self)
  local total = type(self.total_count) == "number" and tostring(self.total_count) or "?"
  return ("machines: %d of %s"):format(#self.data, total)
end

local function describe(self)
  local show = shown[self.object] or type(self.data) == "table" and describe_list
  return show and show(self) or Result.__name
end

function Result:__tostring()
  return clean(describe(self))
end

return Result
