--- Works through a list with some tasks at once.

local runtime = require "clerk.machines.runtime"

local AT_ONCE = 16

local pool = {}

local function take_turns(state, f)
  while not state.is_stopped and state.at < #state.items do
    state.at = state.at + 1
    local ok, problem = pcall(f, state.items[state.at])
    if not ok and not state.is_stopped then
      state.is_stopped, state.problem = true, problem
    end
  end
end

local function run_tasks(client, state, f)
  local tasks = {}
  for i = 1, math.min(AT_ONCE, #state.items) do
    tasks[i] = client:spawn(take_turns, state, f)
  end
  for _, task in ipairs(tasks) do
    task:result()
  end
end

--- Calls f(item) for each item. After the first failure no further item is started; those that are
--- under way are finished, so that their outcome is known; then the failure is raised.
---@param client clerk.machines.Client
---@param items any[]
---@param f fun(item: any) may wait
function pool.each(client, items, f)
  local state = { items = items, at = 0, is_stopped = false, problem = nil }
  local run = runtime.can_spawn() and run_tasks or function()
    take_turns(state, f)
  end
  local ok, problem = pcall(run, client, state, f)
  state.is_stopped = true -- also when the wait was interrupted
  if not ok or state.problem ~= nil then
    error(state.problem or problem, 0)
  end
end

return pool
