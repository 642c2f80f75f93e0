--- lua-cjson over lua-http. Its requests open a connection each; its connections, which are as much
--- part of its interface, can be kept.

local cjson = require "cjson"
local client = require "http.client"
local http_headers = require "http.headers"
local http_tls = require "http.tls"
local openssl_store = require "openssl.x509.store"
local worker = require "workers.worker"

local scheme, host, port, path = worker.base_url:match("^(%w+)://([%d.]+):(%d+)(.*)$")

local function tls_context()
  local context, store = http_tls.new_client_context(), openssl_store.new()
  store:add(worker.ca_bundle)
  context:setStore(store)
  return context
end

local function connect()
  return assert(client.connect {
    host = host,
    port = tonumber(port),
    tls = scheme == "https",
    ctx = scheme == "https" and tls_context() or nil,
  })
end

local function request_headers()
  local headers = http_headers.new()
  headers:append(":method", "GET")
  headers:append(":scheme", scheme)
  headers:append(":authority", host .. ":" .. port)
  headers:append(":path", path .. worker.target())
  headers:append("authorization", "Bearer " .. worker.secret_key, true)
  headers:append("accept", "application/json")
  headers:append("clerk-api-version", "2026-05-12")
  headers:append("user-agent", "lua-http")
  return headers
end

local connection

worker.serve(function()
  connection = connection or connect()
  local stream = assert(connection:new_stream())
  assert(stream:write_headers(request_headers(), true))
  local headers = assert(stream:get_headers())
  assert(headers:get(":status") == "200", headers:get(":status"))
  local body = assert(stream:get_body_as_string())
  stream:shutdown()
  return cjson.decode(body)
end)
