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
  machine_to_machine_token = function(self)
    return "machine_to_machine_token " .. text(self.id) .. " (of " .. text(self.subject) .. ")"
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

local function describe_list(what, list, total_count)
  local total = type(total_count) == "number" and tostring(total_count) or "?"
  return ("%s: %d of %s"):format(what, #list, total)
end

local function describe(self)
  if shown[self.object] then
    return shown[self.object](self)
  elseif type(self.m2m_tokens) == "table" then
    return describe_list("tokens", self.m2m_tokens, self.total_count)
  elseif type(self.data) == "table" then
    return describe_list("machines", self.data, self.total_count)
  end
  return Result.__name
end

function Result:__tostring()
  return clean(describe(self))
end

return Result
