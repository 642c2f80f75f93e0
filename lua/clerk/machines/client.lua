--- The client: a method for each operation; tasks, pagination and closing.

local call = require "clerk.machines.call"
local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local json_writer = require "clerk.machines.json_writer"
local options = require "clerk.machines.options"
local pages = require "clerk.machines.pages"
local runtime = require "clerk.machines.runtime"
local settings = require "clerk.machines.settings"
local tasks = require "clerk.machines.task"

---@class clerk.machines.Client
local Client = { __name = "clerk.machines.Client" }
Client.__index = Client

-- ---------------------------------------------------------------- arguments

--- The clients of this Lua state.
local clients = setmetatable({}, { __mode = "k" })

local function check_client(client, operation_name)
  if not clients[client] then
    errors.refuse(("call it with a colon, on a client of this Lua state: client:%s(…)")
      :format(operation_name), operation_name)
  end
  if client.is_closed then
    errors.refuse("the client is closed", operation_name)
  end
end

--- What a method takes: path parameters, then a table if there are other parameters, then options,
--- so two or three arguments. `of_type` has the name of a parameter of each type.
local function layout_of(operation)
  local layout = { operation = operation, count = 1, takes_params = false, of_type = {} }
  for _, parameter in ipairs(operation.parameters) do
    if parameter.place == "path" then
      layout.count = layout.count + 1
    else
      layout.takes_params = true
    end
    layout.of_type[parameter.type] = parameter.name
  end
  layout.count = layout.count + (layout.takes_params and 1 or 0)
  assert(layout.count == 2 or layout.count == 3, "see invoke")
  return layout
end

--- The options that have the keys of the operations, by the operations' names.
local function key_names_of(own)
  local names = {}
  for _, operation in ipairs(core.operations) do
    for i = #operation.keys, 1, -1 do -- the first one is preferred
      names[operation.name] = own[operation.keys[i]] and operation.keys[i] or names[operation.name]
    end
  end
  return names
end

local function refuse_without_key(operation)
  local name = operation.keys[1]
  local variable = options[name].variable
  errors.refuse(("%s is missing: give it to machines.new or set %s%s"):format(name, variable,
    runtime.environment_hint(variable)), operation.name)
end

local function accept(operation_name, value, problem)
  return value or errors.refuse(problem, operation_name)
end

local function value_of(params, name)
  if type(params) == "table" then
    return rawget(params, name)
  end
end

--- A copy of the parameters in which that one is a JSON document, as the core takes it.
local function with_json(params, name)
  local problem = json_writer.problem(params[name], name)
  if problem then
    return nil, problem
  end
  local copy = {}
  for key, value in next, params do
    copy[key] = value
  end
  local is_empty = type(copy[name]) == "table" and next(copy[name]) == nil
  copy[name] = is_empty and "{}" or json_writer.write(copy[name]) -- an empty table means no claims
  return copy
end

--- What a call needs, checked: its settings, core's call, the name of the option that has its key,
--- and the token that the caller gave, if any.
local function prepare(client, layout, start, call_options, params, first, second)
  local name, of_type, own = layout.operation.name, layout.of_type, client.settings
  if call_options ~= nil then
    own = accept(name, settings.for_call(call_options, own))
  end
  local key_name = client.key_names[name] or refuse_without_key(layout.operation)
  if of_type.json and value_of(params, of_type.json) ~= nil then
    params = accept(name, with_json(params, of_type.json))
  end
  local prepared, problem = core.call(name, own.prepared, start, params, first, second)
  if not prepared then
    errors.refuse(problem, name)
  end
  return own, prepared, key_name, of_type.secret and value_of(params, of_type.secret)
end

local function run(client, layout, call_options, params, first, second)
  local start = call.now(client)
  return call.run(client, layout.operation, start,
    prepare(client, layout, start, call_options, params, first, second))
end

local function invoke(client, layout, count, first, second, third)
  local name = layout.operation.name
  check_client(client, name)
  if count > layout.count then
    errors.refuse(("takes at most %d arguments, got %d"):format(layout.count, count), name)
  elseif runtime.check_call and not client.transport.sleep then
    runtime.check_call(name)
  end
  local params, call_options = first, second
  if layout.count == 3 then
    params, call_options = second, third
  end
  if not layout.takes_params then
    params = nil
  end
  return run(client, layout, call_options, params, first, second)
end

local layouts = {}

for _, operation in ipairs(core.operations) do
  local layout = layout_of(operation)
  layouts[operation.name] = layout
  Client[operation.name] = function(self, ...)
    return invoke(self, layout, select("#", ...), ...)
  end
end

-- ---------------------------------------------------------------- tasks

local function check_outside(client, method)
  check_client(client, method)
  if runtime.current() then
    errors.refuse(("client:%s cannot be called inside a task"):format(method))
  end
end

--- Runs f(...) as a task: until it would wait, then further with every step. task:result() raises
--- what f raises. A task may spawn others.
---@param f function
---@return clerk.machines.Task
function Client:spawn(f, ...)
  check_client(self, "spawn")
  if type(f) ~= "function" then
    errors.refuse(("spawn needs a function, got %s"):format(type(f)))
  end
  return tasks.spawn(self.group, f, ...)
end

--- Resumes tasks that can go on, of other clients too, for about 0.3 ms; before that, while none
--- can, waits at most `ms` milliseconds.
---@param ms? number default 0
---@return integer count of this client's unfinished tasks
function Client:step(ms)
  check_outside(self, "step")
  ms = ms == nil and 0 or ms
  if type(ms) ~= "number" or ms < 0 or ms ~= ms then
    local got = type(ms) == "number" and tostring(ms) or type(ms)
    errors.refuse("ms must be a number of at least 0, got " .. got)
  end
  runtime.step(math.ceil(math.min(ms, 2 ^ 31 - 1)), self.group)
  return runtime.count(self.group)
end

--- Steps until all of this client's tasks have ended.
function Client:run()
  check_outside(self, "run")
  runtime.run(self.group)
end

--- For a host's own event loop: call step(0) when the descriptor is readable, and after `ms`
--- milliseconds. Ask again after every step, spawn, cancel and close. All clients of a Lua state
--- share one descriptor, which stays the same. It belongs to this library: do not close it.
---@return integer fd of epoll, on Linux; an ArgumentError elsewhere
---@return integer|nil ms nil: no step is due before the descriptor is readable
function Client:pollable()
  check_client(self, "pollable")
  local fd, ms = runtime.pollable()
  if not fd then
    errors.refuse("pollable needs epoll, which this system does not have: call step(0) by a timer")
  end
  return fd, ms
end

-- ---------------------------------------------------------------- pagination

--- What pagination uses of a client.
local function source_of(self)
  return {
    client = self,
    now = function()
      return call.now(self)
    end,
    next_number = function()
      return call.next_number(self)
    end,
    check = function(params, call_options)
      return (prepare(self, layouts.list, 0, call_options, params))
    end,
  }
end

--- Iterates over all machines: for machine in client:each() do … end. Every machine that exists
--- from the first request to the last comes exactly once, in order. By `name`, a machine comes at
--- most once, and may be missed if it is renamed meanwhile. An error says how many `pages` and
--- `machines` came before it.
---@param params? clerk.machines.PageParams as of list, without `offset`; `limit` defaults to 500
---@param call_options? clerk.machines.CallOptions `deadline_ms` limits the whole pagination
---@return fun(): clerk.machines.Machine?
function Client:each(params, call_options)
  check_client(self, "each")
  return pages.each(source_of(self), params, call_options)
end

--- The same, page by page: each has `data`, at least one machine, and the latest `total_count`.
--- After an error the function may be called again, and goes on where it was.
---@return fun(): clerk.machines.MachineList?
function Client:pages(params, call_options)
  check_client(self, "pages")
  return pages.pages(source_of(self), params, call_options)
end

--- All machines in an array.
---@param call_options? clerk.machines.CollectOptions `concurrency` 1 … 100: requests at once
---@return clerk.machines.Machine[]
function Client:collect(params, call_options)
  check_client(self, "collect")
  return pages.collect(source_of(self), params, call_options)
end

-- ---------------------------------------------------------------- life

--- A transport that the user supplied stays the user's.
local function close_transport(client)
  client.is_closed = true
  if not client.settings.transport and client.transport.close then
    client.transport:close()
  end
end

--- Cancels the client's tasks and closes its connections, but not a transport that was given to
--- `machines.new`. Any use of the client after that is an ArgumentError, except another close.
function Client:close()
  if not clients[self] then
    errors.refuse("call it with a colon, on a client of this Lua state: client:close()")
  elseif self.is_closed then
    return
  end
  self.is_closed = true
  local ok, problem = pcall(tasks.cancel_all, self.group)
  if not ok then -- out of memory, or a signal: close can be called again
    self.is_closed = false
    error(problem, 0)
  end
  close_transport(self)
end

--- When a client is collected, its tasks are too: they are not resumed any more.
local function finalize(client)
  if not client.is_closed then
    close_transport(client)
  end
end

Client.__gc = finalize
Client.__close = Client.close

function Client:__tostring()
  return ("%s (%s)"):format(Client.__name, self.settings.base_url)
end

--- LuaJIT does not finalize tables, so the client has a userdata there.
local function add_finalizer(client)
  if newproxy then
    client.finalizer = newproxy(true)
    getmetatable(client.finalizer).__gc = function()
      pcall(finalize, client) -- as on 5.4, an error in a finalizer is ignored
    end
  end
end

-- ---------------------------------------------------------------- for the safe twin and adapters

local client = {}

client.Client = Client

--- What an object of clerk.machines.safe wraps; any other value as it is.
function client.unwrap(value)
  return type(value) == "table" and rawget(value, "inner") or value
end

function client.is_closed(self)
  return self.is_closed
end

--- Whether a client has unfinished tasks.
function client.is_busy(self)
  return runtime.count(self.group) > 0
end

-- ---------------------------------------------------------------- a new client

--- Makes a client; raises an ArgumentError.
---@param given? clerk.machines.Options
---@return clerk.machines.Client
function client.new(given)
  local own = accept(nil, settings.for_client(given))
  local self = {
    settings = own,
    key_names = key_names_of(own),
    transport = own.transport or accept(nil, runtime.new_transport(own)),
    connection_limit = not own.transport and runtime.new_limit(own.max_connections) or nil,
    call_count = 0,
    paused_until = 0,
    is_closed = false,
  }
  add_finalizer(self)
  self.group = runtime.new_group(self.finalizer or self)
  clients[self] = true
  return setmetatable(self, Client)
end

--- A view of a client for calls that must not hold up its other calls, nor wait for them: it has a
--- pause after a 429 of its own and, if it is given, a connection limit.
---@param original clerk.machines.Client
---@param max_connections integer?
---@return table for `client.call`
function client.aside(original, max_connections)
  return setmetatable({
    connection_limit = max_connections and runtime.new_limit(max_connections),
    paused_until = 0,
  }, { __index = original })
end

--- Calls an operation that takes a path parameter or a table of others.
---@param view table of client.aside
---@param operation_name string
---@param given string|table
---@param call_options table
---@return table result
---@return clerk.machines.CallInfo
function client.call(view, operation_name, given, call_options)
  local layout = layouts[operation_name]
  if layout.takes_params then
    return run(view, layout, call_options, given)
  end
  return run(view, layout, call_options, nil, given)
end

return client
