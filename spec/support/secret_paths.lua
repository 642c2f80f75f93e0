-- The paths of a key and of machines' secrets through a client: what a server does, times the
-- method that is called, times how it is called. A list of { name, run }, where run(watch) drives
-- one server and passes on everything that a program may print: watch(value, what, holds_secret),
-- with holds_secret if the value may contain a result with a requested secret. Fails if the outcome
-- is not the expected one.

local certificates = require "clerk.machines.emulator.certificates"
local core = require "clerk.machines.core"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local process = require "support.process"
local safe = require "clerk.machines.safe"
local server = require "support.server"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")
local is_nginx = rawget(_G, "ngx") ~= nil

local KEY = "sk_test_MARKED0123456789"
local SECRET = "ak_MARKED9876543210"
local TOKEN = "mt_MARKED5432109876"
local HIDDEN = "(secret)"

local paths = { key = KEY, secret = SECRET }

-- ---------------------------------------------------------------- what is called

local PARAMS = {
  create = { name = "a" },
  update = { name = "b" },
  rotate_secret_key = { previous_token_ttl = 0 },
  create_scope = { to_machine_id = "mch_2" },
  list_tokens = { subject = "mch_1" },
  verify_token = { token = TOKEN },
}

--- Requests two rows.
local PAGED = { limit = 1 }

local function arguments_of(operation)
  local arguments = {}
  for _, parameter in ipairs(operation.parameters) do
    if parameter.place == "path" then table.insert(arguments, "mch_1") end
  end
  table.insert(arguments, PARAMS[operation.name])
  return arguments
end

--- Everything that an iterator returns; nil and the error if it returns that.
local function exhaust(iterate)
  local all = {}
  local one, problem = iterate()
  while one do
    table.insert(all, one)
    one, problem = iterate()
  end
  if problem then return nil, problem end
  return all
end

local calls = {
  { name = "each", run = function(client) return exhaust(client:each(PAGED)) end },
  { name = "pages", run = function(client) return exhaust(client:pages(PAGED)) end },
  { name = "collect", run = function(client) return client:collect(PAGED) end },
  { name = "collect, two at once", run = function(client)
    return client:collect(PAGED, { concurrency = 2 })
  end },
}
for _, call in ipairs(calls) do call.is_paged = true end
for _, operation in ipairs(core.operations) do
  table.insert(calls, {
    name = operation.name,
    returns_secret = operation.returns_secret,
    run = function(client)
      return client[operation.name](client, unpack(arguments_of(operation)))
    end,
  })
end

-- ---------------------------------------------------------------- how it is called

--- Results, or nil and the error, whether it was returned or raised.
local function settle(ok, ...)
  if ok then return ... end
  return nil, (...)
end

local function directly(client, f)
  return settle(pcall(f, client))
end

local function in_task(client, f, watch)
  local task = client:spawn(f, client)
  watch(task, "the task", true)
  client:run()
  watch(task, "the task that has ended", true)
  return settle(pcall(task.result, task))
end

local ways = {
  { name = "", new = machines.new, run = directly },
  { name = " of the safe interface", new = safe.new, run = directly },
  { name = " in a task", new = machines.new, run = in_task },
  { name = " in a task of the safe interface", new = safe.new, run = in_task },
}

-- ---------------------------------------------------------------- what a server does
-- `code` is the code of the resulting error; a success has none. `headers` and `body` are sent to
-- every request; a success without a body gets the body for its operation.

local ECHO = ([[{
  "errors": [{ "code": "c KEY", "message": "m KEY", "meta": { "KEY": "KEY" } }],
  "meta": { "a": ["KEY"] }, "clerk_trace_id": "KEY"
}]]):gsub("KEY", KEY)

local MACHINE = ('{"object":"machine","id":"mch_1","name":"a","created_at":1,"secret_key":"%s",'
  .. '"deleted":true,"from_machine_id":"mch_1","to_machine_id":"mch_2","token":"%s",'
  .. '"subject":"mch_1","revoked":true,"expired":false,"m2m_tokens":[]}'):format(SECRET, SECRET)
local LIST = '{"data":[%s],"total_count":9}'

local successes = { list = LIST:format(MACHINE) }
for _, name in ipairs { "get_secret_key", "rotate_secret_key" } do
  successes[name] = ('{"object":"machine_secret_key","secret":"%s"}'):format(SECRET)
end

local function success_of(name, is_paged)
  return successes[is_paged and "list" or name] or MACHINE
end

local function gzip(text)
  local status, packed, problem = process.run("printf %s " .. process.quote(text) .. " | gzip -c")
  assert(status == 0, problem)
  return packed
end

local answers = {
  { name = "a success", status = 200 },
  { name = "an error that repeats the key", status = 401, body = ECHO, code = "c " .. HIDDEN },
  { name = "a page that repeats the key", status = 502, body = "<p>Bearer " .. KEY .. "</p>",
    code = "unexpected_status" },
  { name = "a redirect that repeats the key", status = 307, body = KEY, code = "redirect_refused" },
  { name = "too many requests", status = 429, body = ECHO, code = "c " .. HIDDEN },
  { name = "the pause after too many requests", status = 429, body = ECHO, times = 2,
    code = "rate_limited" },
  { name = "a success that is no JSON", status = 200, body = '{"secret":"' .. SECRET .. '",',
    code = "invalid_json" },
  { name = "a success of another shape", status = 200, body = '["' .. SECRET .. '"]',
    code = "unexpected_shape" },
  { name = "an empty success", status = 200, body = "", code = "invalid_json" },
}

local ECHO_HEADERS = {
  ["x-echo"] = "Bearer " .. KEY,
  ["cf-ray"] = KEY,
  ["clerk-trace-id"] = KEY,
  ["location"] = "http://127.0.0.1:1/" .. KEY .. "?key=" .. KEY,
  ["retry-after"] = "99",
}

local function lines_of(headers)
  local lines = {}
  for name, value in pairs(headers) do table.insert(lines, name .. ": " .. value) end
  return table.concat(lines, "\r\n")
end

local ANSWER = [[
  for request in connection:requests() do
    local body = values.body or values[request.headers["x-call"] ]
    connection:answer(tonumber(values.status), body, values.headers)
  end
]]

local HALF = [[
  connection:read_request()
  connection:write("HTTP/1.1 200 OK\r\nX-Echo: ", values.key, "\r\nContent-Length: 999\r\n\r\n",
    '{"secret":"', values.secret, '"')
]]

local BREAKS_OFF = [[
  for request in connection:requests() do
    if request.target:find "offset=0" then
      connection:answer(200, values.two, values.headers)
    else
      connection:answer(403, values.body, values.headers)
    end
  end
]]

--- Too long for a name, so that no name server is asked; in nginx the specs have one of their own.
local UNKNOWN_NAME = is_nginx and "machines.invalid" or ("a"):rep(64)

local servers = {
  { name = "an answer that breaks off", script = HALF, code = "connection_lost" },
  { name = "an answer that never ends", script = HALF .. "connection:hang()", code = "timeout",
    options = { timeout_ms = 10 } },
  { name = "a connection that is reset", code = "connection_lost",
    script = "connection:read_request() connection:reset()" },
  { name = "no HTTP at all", code = "bad_response",
    script = 'connection:write(connection:read_request().bytes, "\\r\\n")' },
  { name = "an encoding that repeats the key", status = 200, code = "bad_response",
    headers = { ["content-encoding"] = KEY } },
  { name = "an answer that is too large", status = 200, code = "response_too_large",
    options = { max_response_bytes = 20 } },
  { name = "a listing that breaks off", only_paged = true, script = BREAKS_OFF, body = ECHO,
    code = "c " .. HIDDEN },
  { name = "an unknown authority", has_tls = true, script = ANSWER, code = "tls_failed" },
  { name = "an unknown name", code = "dns_failed",
    options = { base_url = ("http://%s/v1"):format(UNKNOWN_NAME), allow_http = true } },
  { name = "a port that is closed", is_gone = true, script = ANSWER, code = "connect_failed" },
}

if not is_nginx then -- which requests no compression
  local headers = { ["content-encoding"] = "gzip" }
  for name, value in pairs(ECHO_HEADERS) do headers[name] = value end
  for _, row in ipairs {
    { name = "a packed success", status = 200 },
    { name = "a packed error that repeats the key", status = 401, body = ECHO,
      code = "c " .. HIDDEN },
  } do
    row.headers, row.packs = headers, true
    table.insert(servers, row)
  end
end

-- ---------------------------------------------------------------- driving them

--- At most one repetition: the second wait would be too long.
local RETRIES = { backoff = { initial_interval = 1, exponent = 1000, max_elapsed_time = 400 } }

local function settings_of(row, call, watch, options)
  local settings = {
    secret_key = KEY,
    machine_secret_key = KEY,
    headers = { ["X-Call"] = call.name },
    retries = RETRIES,
    on_event = function(event) watch(event, "an event") end,
  }
  for name, value in pairs(options) do settings[name] = value end
  for name, value in pairs(row.options or {}) do settings[name] = value end
  return settings
end

local function repeated(f, times)
  return function(client)
    for _ = 2, times or 1 do pcall(f, client) end
    return f(client)
  end
end

local function check_success(row, call, result, info)
  if row.code or not result then error("it came to " .. tostring(result or info), 0) end
  if call.is_paged then return end
  assert(info.headers["x-echo"] == "Bearer " .. HIDDEN, "info has other headers")
  assert(not call.returns_secret or (result.secret or result.secret_key) == SECRET, "no secret")
end

local function check_error(row, err)
  assert(machines.is_error(err), tostring(err))
  if err.code ~= row.code then error("it came to " .. tostring(err), 0) end
  if err.body and row.body and row.body:find(KEY, 1, true) then
    assert(err.body:find(HIDDEN, 1, true), "the key was not replaced: it was not there")
  end
end

--- Makes one call with a new client, and watches all of it.
local function drive(row, call, way, watch, options)
  local function watch_here(value, what, holds_secret)
    watch(value, ("%s, of %s%s"):format(what, call.name, way.name), holds_secret)
  end
  local client = assert(way.new(settings_of(row, call, watch_here, options)))
  watch_here(client, "the client")
  local result, info = way.run(client, repeated(call.run, row.times), watch_here)
  watch_here(result, "the result", true)
  watch_here(getmetatable(result), "the result's metatable")
  watch_here(info, result and "info" or "the error")
  client:close()
  watch_here(client, "the closed client")
  if result then
    check_success(row, call, result, info)
  else
    check_error(row, info)
  end
end

--- A success that cannot be read is withheld if it may contain a secret, and only then.
local function applies(row, call)
  local is_shown = row.body and row.body:find(SECRET, 1, true) and not call.returns_secret
  return not is_shown and (call.is_paged or not row.only_paged)
end

local function drive_all(row, watch, options_of)
  for _, way in ipairs(ways) do
    for _, call in ipairs(calls) do
      if applies(row, call) then drive(row, call, way, watch, options_of(call)) end
    end
  end
end

-- ---------------------------------------------------------------- over the caller's own transport

local function add_over_transport(row, send)
  table.insert(paths, { name = row.name .. ", by a transport", run = function(watch)
    drive_all(row, watch, function(call)
      return { transport = { send = function() return send(call) end } }
    end)
  end })
end

for _, row in ipairs(answers) do
  add_over_transport(row, function(call)
    local body = row.body or success_of(call.name, call.is_paged)
    return { status = row.status, headers = ECHO_HEADERS, body = body }
  end)
end

add_over_transport({ name = "a failure", code = "connection_lost" }, function()
  return nil, { code = "connection_lost", message = "lost " .. KEY, sent = true }
end)

-- ---------------------------------------------------------------- over sockets

local function values_of(row)
  local pack = row.packs and gzip or function(text) return text end
  local values = {
    key = KEY,
    secret = SECRET,
    status = tostring(row.status),
    headers = lines_of(row.headers or ECHO_HEADERS),
    body = row.body and pack(row.body),
    two = LIST:format(MACHINE .. "," .. MACHINE:gsub("mch_1", "mch_0")),
  }
  for _, call in ipairs(calls) do
    values[call.name] = pack(success_of(call.name, call.is_paged))
  end
  return values
end

local function start(row)
  return server.start(row.script or ANSWER, {
    values = values_of(row),
    tls = row.has_tls and certificates.new { hosts = { "127.0.0.1" } } or nil,
  })
end

local function add_over_sockets(row)
  table.insert(paths, { name = row.name .. ", over a socket", run = function(watch)
    local web = start(row)
    if row.is_gone then web:stop() end
    local options = { base_url = web:url "/v1" }
    drive_all(row, watch, function() return options end)
    web:stop()
  end })
end

for _, row in ipairs(answers) do add_over_sockets(row) end
for _, row in ipairs(servers) do add_over_sockets(row) end

-- ---------------------------------------------------------------- tasks that are ended
-- Two tasks of a client with one connection: the second one waits in the queue.

local PATIENT = { backoff = { initial_interval = 30000, max_elapsed_time = 100000 } }

local interruptions = {
  { name = "while its answer comes", script = HALF .. "connection:hang()", event = "attempt" },
  { name = "between two attempts", event = "wait",
    script = "connection:answer_all(503, values.body)" },
  { name = "in the pause after too many requests", event = "wait",
    script = "connection:answer_all(429, values.body, 'Retry-After: 40')" },
}

local endings = {
  { name = "is cancelled ", run = function(_, tasks)
    for _, task in ipairs(tasks) do task:cancel() end
  end },
  { name = "loses its client ", run = function(client) client:close() end },
}

local function watch_ended(task, watch)
  watch(task, "the task")
  local result, err = settle(pcall(task.result, task))
  watch(err, "the error")
  assert(not result and machines.is_error(err) and err.code == "cancelled", tostring(err))
end

local function interrupt(row, ending, new, watch)
  local web, has_happened = start { script = row.script, body = ECHO }, false
  local client = assert(new {
    secret_key = KEY, base_url = web:url "/v1", max_connections = 1, retries = PATIENT,
    on_event = function(event)
      watch(event, "an event")
      has_happened = has_happened or event.type == row.event
    end,
  })
  local tasks = {}
  for i = 1, 2 do tasks[i] = client:spawn(client.get_secret_key, client, "mch_1") end
  task_server.step_until(client, function() return has_happened and #web:requests() > 0 end)
  ending.run(client, tasks)
  for _, task in ipairs(tasks) do watch_ended(task, watch) end
  watch(client, "the client")
  client:close()
  web:stop()
end

for _, row in ipairs(interruptions) do
  for _, ending in ipairs(endings) do
    table.insert(paths, {
      name = "a task that " .. ending.name .. row.name,
      run = function(watch)
        interrupt(row, ending, machines.new, watch)
        interrupt(row, ending, safe.new, watch)
      end,
    })
  end
end

return paths
