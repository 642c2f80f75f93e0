--- Runs one action on several machines or tokens, one at a time.

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

--- Calls f(each) for each of a list, and finish with what f returned. When f fails, that is what it
--- returned before: then this says how many were done, lists the IDs of the others, and raises the
--- error.
---@param list { id: string }[]
---@param noun string "machines"
---@param participle string "deleted"
---@param f fun(each: { id: string }): table
---@param finish fun(results: table[])
function sequence.each(list, noun, participle, f, finish)
  local results = {}
  for i, each in ipairs(list) do
    local ok, result = pcall(f, each)
    if not ok then
      if #list > 1 then
        report(list, i, noun, participle)
      end
      finish(results)
      error(result, 0)
    end
    results[i] = result
  end
  finish(results)
end

return sequence
