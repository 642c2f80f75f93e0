--- What `tostring` shows of results: who they are, and never a secret.

local core = require "clerk.machines.core"

local Result = core.result
local clean = core.clean -- not the module: Lua's registry keeps `Result` for good

local function text(value)
  return type(value) == "string" and clean(value, " ") or "?"
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

function Result:__tostring()
  local show = shown[self.object]
  if show then
    return show(self)
  end
  if type(self.data) == "table" then
    return ("machines: %d of %s"):format(#self.data, text(tostring(self.total_count)))
  end
  return Result.__name
end
