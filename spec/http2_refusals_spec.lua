-- A server that closes HTTP/2 connections after a few requests, or allows few streams, loses no
-- create: what it refuses unprocessed is sent again, and nothing is done twice. Nor does one that
-- answers without waiting for the body.

local certificates = require "clerk.machines.emulator.certificates"
local files = require "support.files"
local machines = require "clerk.machines"
local nginx = require "support.nginx"
local server = require "support.server"

local CREATES, ROUNDS = 100, 20

local made = certificates.new { hosts = { "127.0.0.1" } }

local function new_client(url, ca_file)
  return machines.new { secret_key = "sk_test_http2_refusals", base_url = url, ca_file = ca_file }
end

--- Creates overlapping machines, which must all succeed.
local function create_all(client)
  local tasks = {}
  for i = 1, CREATES do tasks[i] = client:spawn(client.create, client, { name = "a" }) end
  client:run()
  for _, task in ipairs(tasks) do assert.equal("mch_1", task:result().id) end
end

--- A port that was free a moment ago: nginx cannot be asked to choose one.
local function free_port()
  local probe = server.start "connection:close()"
  probe:stop()
  return probe.port
end

local function start_nginx(keepalive_requests)
  local port = free_port()
  return nginx.start {
    http = ([[
      server {
        listen 127.0.0.1:%d ssl http2;
        ssl_certificate @DIRECTORY@/certificate.pem;
        ssl_certificate_key @DIRECTORY@/key.pem;
        access_log @DIRECTORY@/requests;
        keepalive_requests %d;
        location / { return 200 '{"id":"mch_1","secret_key":"ak_1"}'; }
      }
    ]]):format(port, keepalive_requests),
    files = {
      ["certificate.pem"] = made.certificate, ["key.pem"] = made.key, ["ca.pem"] = made.ca,
    },
  }, ("https://127.0.0.1:%d/v1"):format(port)
end

describe("Overlapping creates over HTTP/2 all succeed, and once each,", function()
  after_each(function()
    nginx.stop_all()
    server.stop_all()
  end)

  for _, count in ipairs { 5, 10, 50 } do
    it(("at an nginx that closes connections after %d requests"):format(count), function()
      local web, url = start_nginx(count)
      for _ = 1, ROUNDS do
        local client = new_client(url, web.directory .. "/ca.pem")
        for _ = 1, 3 do client:get "mch_1" end
        create_all(client)
        client:close()
      end
      local log = files.read(web.directory .. "/requests")
      assert.equal(ROUNDS * CREATES, select(2, log:gsub('"POST /v1/machines HTTP/2', "")))
    end)
  end

  it("at a server that refuses more than 5 streams at once on a connection", function()
    local ca_file = os.tmpname()
    files.write(ca_file, made.ca)
    local web = server.start([[
      local open = 0
      connection:http2(function(_, stream)
        if open >= 5 then return stream:write_rst_stream_frame(7) and nil end
        open = open + 1
        connection:note "processed"
        connection:sleep(20)
        open = open - 1
        return 200, '{"id":"mch_1","secret_key":"ak_1"}'
      end)
    ]], { tls = { certificate = made.certificate, key = made.key, alpn = { "h2" } } })
    local client = new_client(web:url "/v1", ca_file)
    local gets = {}
    for i = 1, 20 do gets[i] = client:spawn(client.get, client, "mch_1") end
    create_all(client)
    for _, task in ipairs(gets) do assert.equal("mch_1", task:result().id) end
    local creates = 0
    for _, event in ipairs(web:events()) do
      creates = creates + (event.kind == "processed" and 1 or 0)
    end
    assert.equal(CREATES + #gets, creates)
    os.remove(ca_file)
  end)

  it("at a server that does not wait for the body of a request", function()
    local ca_file = os.tmpname()
    files.write(ca_file, made.ca)
    local web = server.start([[
      connection:http2(function()
        connection:sleep(50)
        return 200, '{"id":"mch_1","secret_key":"ak_1"}'
      end, true)
    ]], { tls = { certificate = made.certificate, key = made.key, alpn = { "h2" } } })
    local client = new_client(web:url "/v1", ca_file)
    create_all(client)
    local requests = 0
    for _, event in ipairs(web:events()) do
      requests = requests + (event.kind == "request" and 1 or 0)
    end
    assert.equal(CREATES, requests)
    os.remove(ca_file)
  end)
end)
