--- The same for several machines or tokens, one after the other.

local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local sequence = {}

--- The IDs on one line, for the next command line.
local function report(list, at, noun, participle)
  local left = {}
  for i = at, #list do
    left[#left + 1] = text.of(list[i].id)
  end
  terminal.note(("%d of %d %s were %s. These were not: %s"):format(at - 1, #list, noun, participle,
    table.concat(left, " ")))
end

--- Calls f(each) for each of a list. When that fails, says how many were done and lists the IDs of
--- the others, then raises the error.
---@param list { id: string }[]
---@param noun string "machines"
---@param participle string "deleted"
---@param f fun(each: { id: string })
function sequence.each(list, noun, participle, f)
  for i, each in ipairs(list) do
    local ok, problem = pcall(f, each)
    if not ok then
      if #list > 1 then
        report(list, i, noun, participle)
      end
      error(problem, 0)
    end
  end
end

return sequence
