-- Fails the allocations of a scenario one by one and checks the outcome; see memory_spec.lua.
--
--   LD_PRELOAD=memory.so lua5.4 failing_memory.lua memory.so KIND STRIDE SCENARIO [NAME=VALUE …]
--
-- KIND "lua" fails allocations of the Lua state, "c" those of the module, libcurl and cJSON after
-- libcurl is initialised. There are two sweeps: in the first, all allocations from the chosen one
-- on fail, in the second only that one. The scenario must then succeed or raise an out-of-memory
-- error, and must succeed right afterwards.

local library, kind, stride, name = arg[1], arg[2], tonumber(arg[3]), arg[4]
local values = {}
for i = 5, #arg do
  values[arg[i]:match "^[^=]*"] = arg[i]:match "=(.*)$"
end

local memory = assert(package.loadlib(library, "luaopen_memory"))()
local machines = require "clerk.machines"
local scenarios = require "support.memory_scenarios"

if jit then jit.off() end -- traces do not survive it, even in programs without a library

local ALL = 2 ^ 30
local ONE = kind == "lua" and not jit and 2 or 1 -- Lua 5.4 asks again, after a collection
local GROWTH_MAX = 64 * 1024 -- of Lua's memory: tables of its own
local PATIENCE_SECONDS = 5 -- for threads that still resolve a name after their transfer's end

local function collect()
  collectgarbage()
  collectgarbage()
end

-- The last ones are Lua's messages when its stack cannot grow.
local OUT_OF_MEMORY = {
  "not enough memory", "Out of memory", "stack overflow %(JSON%)", "too many %w+ to resume",
  "too many results to unpack",
}

-- libcurl does not always say that it was out of memory; a timeout would be a bug.
local function is_out_of_memory(problem)
  if machines.is_error(problem) then
    return kind == "c" and problem.type == "TransportError" and problem.code ~= "timeout"
  end
  if type(problem) ~= "string" then return false end
  for _, words in ipairs(OUT_OF_MEMORY) do
    if problem:find(words) then return true end
  end
  return false
end

-- Lua skips a finalizer if it has no memory for the call, so no finalizer may be due during an
-- attempt.
local function attempt(...)
  collect()
  collectgarbage "stop"
  local ok, problem = memory.attempt(kind, ...)
  collectgarbage "restart"
  return ok, problem
end

local function sweep(run, step, count)
  local n, raised = 1, 0
  repeat
    local ok, problem = attempt(n, n + count - 1, run)
    if not ok then
      raised = raised + 1
      assert(is_out_of_memory(problem), ("allocation %d: %s"):format(n, tostring(problem)))
    end
    local is_over = memory.asked() < n
    run()
    n = n + step
  until is_over
  return raised
end

local function await_threads()
  local last = os.clock() + PATIENCE_SECONDS
  while memory.live "c" > 0 and os.clock() < last do end
end

local function check_nothing_left(lua_before)
  collect()
  await_threads()
  local lua_growth, c = memory.live "lua" - lua_before, memory.live "c"
  assert(lua_growth < GROWTH_MAX, ("%d bytes of Lua's memory are left"):format(lua_growth))
  assert(c == 0, ("%d bytes of C's memory are left"):format(c))
end

local function go_through(scenario, count)
  local run, finish = scenario.start(values)
  run()
  local raised = sweep(run, stride * scenario.stride, count)
  if finish then finish() end
  assert(raised > 0, "no failure was raised")
end

local function find_scenario()
  for _, scenario in ipairs(scenarios) do
    if scenario.name == name then return scenario end
  end
  error("no such scenario: " .. name)
end

machines.new({ secret_key = "sk_test_initialises_libcurl" }):close()
collect()
memory.watch("/core.so", "/libcurl.so", "/libcjson.so")
local before = memory.live "lua"
for _, count in ipairs { ALL, ONE } do
  go_through(find_scenario(), count)
  check_nothing_left(before)
end
