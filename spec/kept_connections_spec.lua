-- What happens on a kept connection between two calls, and what the next call makes of it.

local certificates = require "clerk.machines.emulator.certificates"
local files = require "support.files"
local interpreter = require "support.interpreter"
local literal = require "support.literal"
local machines = require "clerk.machines"
local process = require "support.process"
local server = require "support.server"

local MACHINE = '{"object":"machine","id":"mch_%s","secret_key":"ak_1","deleted":true}'

-- After the first response on the first connection the server does something unexpected.
local SCRIPT = [[
  for request in connection:requests() do
    local name = request.target:match "mch_(%%w+)" or "new"
    connection:answer(200, ('%s'):format(name))
    if connection.number == 1 and connection.request_count == 1 then
      %s
      connection:note "done"
    end
  end
]]

local FORGED = [["HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n"
  .. '{"id":"mch_forged","secret_key":"ak_evil"}']]

-- What the server does, by name.
local events = {
  ["a whole response"] = "connection:write(" .. FORGED .. ")",
  ["a balancer's 408"] =
    [[connection:write "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"]],
  ["a 408 and the end of the connection"] = [[
    connection:write "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    connection:close() connection:note "done" do return end
  ]],
  ["a part of a response"] = [[connection:write "HTTP/1.1 2"]],
  ["an interim response"] = [[connection:write "HTTP/1.1 103 Early Hints\r\n\r\n"]],
  ["a single byte"] = [[connection:write "\n"]],
  ["its end"] = [[connection:close() connection:note "done" do return end]],
  ["a reset"] = [[connection:reset() connection:note "done" do return end]],
}

local calls = {
  GET = function(client) return client:get "mch_next" end,
  POST = function(client) return client:create { name = "a" } end,
  DELETE = function(client) return client:delete "mch_next" end,
}

local function start_tls(script)
  local made = certificates.new { hosts = { "127.0.0.1" } }
  local web = server.start(script, { tls = { certificate = made.certificate, key = made.key } })
  web.ca_file = os.tmpname()
  files.write(web.ca_file, made.ca)
  return web
end

local function client_of(web, options)
  local settings = {
    secret_key = "sk_test_kept_connections", base_url = web:url "/v1", ca_file = web.ca_file,
    retries = false,
  }
  for name, value in pairs(options or {}) do settings[name] = value end
  return machines.new(settings)
end

describe("A kept connection of HTTP/1.1", function()
  after_each(server.stop_all)

  for scheme, start in pairs { http = server.start, https = start_tls } do
    for event, action in pairs(events) do
      for method, call in pairs(calls) do
        it(("over %s is not used for a %s after %s"):format(scheme, method, event), function()
          local web = start(SCRIPT:format(MACHINE, action))
          local client = client_of(web)
          assert.equal("mch_first", client:get("mch_first").id)
          web:wait_for("done", 1)
          local machine, meta = call(client)
          assert.equal(method == "POST" and "mch_new" or "mch_next", machine.id)
          assert.equal(1, meta.attempts)
          assert.equal(2, #web:requests())
          assert.equal(2, web:connections(), literal(web:events()))
          if web.ca_file then os.remove(web.ca_file) end
        end)
      end
    end

    it(("over %s is used again when nothing has happened on it"):format(scheme), function()
      local web = start(SCRIPT:format(MACHINE, ""))
      local client = client_of(web)
      for i = 1, 20 do assert.equal("mch_" .. i, client:get("mch_" .. i).id) end
      assert.equal(1, web:connections())
      if web.ca_file then os.remove(web.ca_file) end
    end)
  end

  it("is looked at among several, whichever call has used it before", function()
    local web = server.start [[
      for request in connection:requests() do
        connection:answer(200, ('{"id":"%s"}'):format(request.target:match "mch_%w+"))
        connection:write('HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"id":"mch_forged"}')
        connection:note "done"
      end
    ]]
    local client = client_of(web)
    for round = 1, 5 do
      local tasks = {}
      for i = 1, 8 do tasks[i] = client:spawn(client.get, client, "mch_" .. i) end
      client:run()
      for i = 1, 8 do assert.equal("mch_" .. i, tasks[i]:result().id) end
      web:wait_for("done", 8 * round)
    end
    assert.equal(40, web:connections())
  end)

  -- The first response, by how its end is told, comes in one write with the beginning of another.
  local framings = {
    ["Content-Length"] = [["Content-Length: 18\r\n\r\n" .. '{"id":"mch_first"}']],
    ["chunks"] =
      [["Transfer-Encoding: chunked\r\n\r\n12\r\n" .. '{"id":"mch_first"}\r\n0\r\n\r\n']],
  }
  for scheme, start in pairs { http = server.start, https = start_tls } do
    for framing, response in pairs(framings) do
      for _, early in ipairs { 1, 10, 80 } do
        it(("over %s never gives bytes to the next call, of which %d came with a response that "
          .. "ends by %s"):format(scheme, early, framing), function()
          local web = start(([[
            local response = "HTTP/1.1 200 OK\r\n" .. %s
            local forged = %s
            connection:read_request()
            if connection.number > 1 then return connection:answer(200, '{"id":"mch_next"}') end
            connection:write(response .. forged:sub(1, %d))
            connection:write(forged:sub(%d))
            connection:note "done"
            connection:answer_all(200, '{"id":"mch_next"}')
          ]]):format(response, FORGED, early, early + 1))
          local client = client_of(web)
          assert.equal("mch_first", client:get("mch_first").id)
          web:wait_for("done", 1)
          assert.equal("mch_next", client:get("mch_next").id)
          if web.ca_file then os.remove(web.ca_file) end
        end)
      end
    end
  end

  it("does not make the next call wait longer than it may", function()
    local web = server.start(SCRIPT:format(MACHINE, "connection:write(" .. FORGED .. ")"))
    local client = client_of(web, { deadline_ms = 5000 })
    client:get "mch_first"
    web:wait_for("done", 1)
    assert.equal("mch_next", client:get("mch_next").id)
  end)
end)

-- With one local port for all of them, connections differ in their peers only.
describe("A kept connection that has the same local port as another one", function()
  local PROGRAM = [[
    local machines = require "clerk.machines"
    local server = require "support.server"
    local closing = server.start [=[
      connection:read_request()
      connection:answer(200, '{"id":"m"}')
    ]=]
    local keeping = server.start [=[connection:answer_all(200, '{"id":"m"}')]=]
    local range = assert(io.open("/proc/sys/net/ipv4/ip_local_port_range", "w"))
    assert(range:write "39999 39999")
    range:close()
    local function client_of(web)
      return machines.new { secret_key = "sk_test_1", base_url = web:url "/v1", retries = false }
    end
    local first, second = client_of(closing), client_of(keeping)
    first:get "mch_1"
    second:get "mch_1"
    closing:wait_until_closed(1)
    second:get "mch_1"
    assert(keeping:connections() == 1 and #keeping:requests() == 2)
    server.stop_all()
  ]]

  --- How a program can have a network of its own, if it can.
  local function namespace()
    for _, command in ipairs { "unshare --net", "unshare --map-root-user --net" } do
      if process.run(command .. " true") == 0 then return command end
    end
  end

  it("is not taken for that one, which the server has closed", function()
    local command = namespace()
    if not command then return pending "no network namespace can be made here" end
    local path = files.write_temporary(PROGRAM)
    finally(files.remove_temporary)
    local status, _, problem = process.run(
      ([[%s sh -c 'PATH=$PATH:/usr/sbin:/sbin ip link set lo up && LD_PRELOAD=%s exec %s %s']])
        :format(command, os.getenv "LD_PRELOAD" or "", interpreter.name, path))
    assert.equal(0, status, problem)
  end)
end)
