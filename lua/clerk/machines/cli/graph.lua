--- The command graph: which machine may call which, as a tree or for Graphviz.

local connection = require "clerk.machines.cli.connection"
local plan = require "clerk.machines.plan"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local graph = {
  name = "graph",
  summary = "Show which machine may call which, as a tree.",
  epilog = [[
Examples:
   clerk-machines graph
   clerk-machines graph --dot | dot -Tsvg >machines.svg

Below each machine are those that it may call. What a machine may call is shown once; the marks are
   (no callers)   no machine may call it
   (no scopes)    it may not call any machine either
   (cycle)        it is above on the same branch
   (see above)    what it may call is shown above]],
}

function graph.declare(parser)
  parser:flag("--dot", "Print the graph for Graphviz.")
end

-- ---------------------------------------------------------------- the walk

local function by_label(instance, machines)
  local sorted = {}
  for i, machine in ipairs(machines) do
    sorted[i] = machine
  end
  table.sort(sorted, function(a, b)
    local first, second = instance:label(a), instance:label(b)
    return first < second or first == second and a.id < b.id
  end)
  return sorted
end

--- What is special about a machine that is reached, and whether the walk ends there.
local function mark_of(state, machine)
  if state.path[machine.id] then
    return "cycle", true
  elseif state.seen[machine.id] then
    local has_callees = state.instance:callees(machine.id)[1] ~= nil
    return has_callees and "see above" or nil, true
  end
end

--- Calls visit(machine, caller, mark, is_last) for each machine that can be reached, before its
--- callees, and leave() after them.
local function walk(state, machine, caller, is_last)
  local mark, ends_here = mark_of(state, machine)
  state.visit(machine, caller, mark, is_last)
  if not ends_here then
    state.seen[machine.id], state.path[machine.id] = true, true
    local callees = by_label(state.instance, state.instance:callees(machine.id))
    for i, callee in ipairs(callees) do
      walk(state, callee, machine, i == #callees)
    end
    state.path[machine.id] = nil
  end
  state.leave()
end

local function root_mark(instance, machine)
  if instance:callers(machine.id)[1] then
    return nil
  end
  return instance:callees(machine.id)[1] and "no callers" or "no scopes"
end

--- First from the machines without callers, then from those that are only in cycles.
local function walk_all(instance, visit, leave)
  local state = { instance = instance, visit = visit, leave = leave, seen = {}, path = {} }
  local machines = by_label(instance, instance.machines)
  for _, wanted in ipairs { "no callers", "cycle", "no scopes" } do
    for _, machine in ipairs(machines) do
      local mark = root_mark(instance, machine) or "cycle"
      if mark == wanted and not state.seen[machine.id] then
        walk(state, machine, nil, true)
      end
    end
  end
end

-- ---------------------------------------------------------------- a tree

local STYLES = { cycle = terminal.yellow }

--- One machine, which may take several lines, each below its branch.
local function tree_line(bars, branch, below, label, mark)
  local line = text.clean(label) .. (mark and (" (%s)"):format(mark) or "")
  if terminal.is(terminal.STDOUT) then
    local room = terminal.width() - text.width(bars .. branch)
    line = text.wrap(line, math.max(room, 1), bars .. below)
  end
  local style = STYLES[mark] or terminal.faint
  return bars .. branch .. line:gsub("%([%l ]+%)$", mark and style or "%0") .. "\n"
end

local function print_tree(instance)
  local lines, bars = {}, {}
  walk_all(instance, function(machine, caller, mark, is_last)
    mark = mark or not caller and root_mark(instance, machine) or nil
    local branch, below = "", ""
    if caller then
      branch, below = is_last and "└─ " or "├─ ", is_last and "   " or "│  "
    end
    lines[#lines + 1] = tree_line(table.concat(bars), branch, below, instance:label(machine), mark)
    bars[#bars + 1] = below
  end, function()
    bars[#bars] = nil
  end)
  terminal.print(table.concat(lines))
end

-- ---------------------------------------------------------------- Graphviz

local function quote(value)
  return '"' .. text.clean(value):gsub('[\\"]', "\\%0") .. '"'
end

--- Machines that no machine may call are dashed, what closes a cycle is red.
local function print_dot(instance)
  local lines = { 'digraph machines {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n' }
  for _, machine in ipairs(by_label(instance, instance.machines)) do
    local style = root_mark(instance, machine) and ', style="rounded,dashed"' or ""
    local id, label = quote(machine.id), quote(machine.name)
    lines[#lines + 1] = ("  %s [label=%s%s];\n"):format(id, label, style)
  end
  walk_all(instance, function(machine, caller, mark)
    if caller then
      lines[#lines + 1] = ("  %s -> %s%s;\n"):format(quote(caller.id), quote(machine.id),
        mark == "cycle" and " [color=red]" or "")
    end
  end, function() end)
  terminal.print(table.concat(lines) .. "}\n")
end

function graph.run(parsed)
  local instance = plan.instance(connection.open(parsed))
  if parsed.dot then
    print_dot(instance)
  elseif instance.machines[1] then
    print_tree(instance)
  else
    terminal.remark("There are no machines.")
  end
end

return { graph }
