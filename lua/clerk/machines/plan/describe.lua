--- Changes as a diff: a paragraph for each machine, and a line of counts at the end.

local comparison = require "clerk.machines.plan.comparison"
local core = require "clerk.machines.core"

local describe = {}

--- What the last line counts, in its order: an action, and how one and several of it are called.
local COUNTED = {
  { "create", "%d machine to create", "%d machines to create" },
  { "update", "%d machine to change", "%d machines to change" },
  { "add_scope", "%d scope to add", "%d scopes to add" },
  { "remove_scope", "%d scope to remove", "%d scopes to remove" },
  { "delete", "%d machine to delete", "%d machines to delete" },
}

local SIGNS = { create = "+", delete = "-" } -- otherwise "~"

-- ---------------------------------------------------------------- lines
-- Each takes a change and returns its lines.

local function value_text(value)
  return type(value) == "number" and ("%.0f"):format(value) or tostring(value)
end

local lines_of = {}

function lines_of.create(change)
  local ttl = change.to.default_token_ttl
  return { ttl and "    default_token_ttl " .. value_text(ttl) }
end

function lines_of.update(change)
  local lines = {}
  for _, field in ipairs(comparison.FIELDS) do
    if change.to[field] ~= nil then
      lines[#lines + 1] = ("  ~ %s %s → %s"):format(field, value_text(change.from[field]),
        value_text(change.to[field]))
    end
  end
  return lines
end

function lines_of.add_scope(_, label)
  return { "  + may call " .. label }
end

function lines_of.remove_scope(_, label)
  return { "  - may call " .. label }
end

function lines_of.delete(change)
  local lines = {}
  for i, caller in ipairs(change.callers) do
    lines[i] = "    " .. caller .. " can no longer call it"
  end
  return lines
end

-- ---------------------------------------------------------------- paragraphs

local function label(compared, node)
  return node.machine and compared.instance:label(node.machine) or node.name
end

--- The nodes in the order in which their first changes come, with the lines of all.
local function paragraphs(compared)
  local list = {}
  for _, step in ipairs(compared.steps) do
    local change = step.change
    if not list[step.node] then
      local head = (SIGNS[change.action] or "~") .. " " .. label(compared, step.node)
      list[step.node] = { head }
      list[#list + 1] = list[step.node]
    end
    local other = step.other and label(compared, step.other)
    for _, line in ipairs(lines_of[change.action](change, other)) do
      table.insert(list[step.node], line)
    end
  end
  return list
end

local function count_actions(compared)
  local counts = {}
  for _, step in ipairs(compared.steps) do
    counts[step.change.action] = (counts[step.change.action] or 0) + 1
  end
  return counts
end

--- "1 machine to create, 2 scopes to add", or "nothing to change".
function describe.counts(compared)
  local counts, parts = count_actions(compared), {}
  for _, row in ipairs(COUNTED) do
    local count = counts[row[1]]
    if count then
      parts[#parts + 1] = row[count == 1 and 2 or 3]:format(count)
    end
  end
  return parts[1] and table.concat(parts, ", ") or "nothing to change"
end

--- Names are made safe to show.
function describe.text(compared)
  local lines = {}
  for _, paragraph in ipairs(paragraphs(compared)) do
    for _, line in ipairs(paragraph) do
      lines[#lines + 1] = core.clean(line)
    end
  end
  lines[#lines + 1] = describe.counts(compared)
  return table.concat(lines, "\n")
end

return describe
