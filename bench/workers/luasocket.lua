--- lua-cjson over LuaSocket, with LuaSec for TLS. As published, `http.request` opens a connection
--- for every request; its option `create` lets it have one that is kept, which is much faster.

local cjson = require "cjson"
local worker = require "workers.worker"

if worker.kind == "decode" then
  worker.serve(worker.decoding(cjson.decode))
  return
end

local http = require "socket.http"
local ltn12 = require "ltn12"
local socket = require "socket"
local ssl = require "ssl"

local TLS = { mode = "client", protocol = "any", options = { "all", "no_sslv3" }, verify = "peer" }

local function encrypt(plain)
  TLS.cafile = worker.ca_bundle
  local encrypted = assert(ssl.wrap(plain, TLS))
  assert(encrypted:dohandshake())
  return encrypted
end

local Kept = {}
Kept.__index = Kept


function Kept:connect(host, port)
  if not self.socket then
    local plain = assert(socket.tcp())
    assert(plain:connect(host, port))
    plain:setoption("tcp-nodelay", true)
    self.socket = worker.base_url:find("^https:") and encrypt(plain) or plain
  end
  return 1
end

function Kept:send(...)
  return self.socket:send(...)
end

function Kept:receive(...)
  return self.socket:receive(...)
end

local function succeed()
  return 1
end

Kept.settimeout, Kept.close = succeed, succeed

--- What `create` must return is a socket: this one stays open.
local kept = setmetatable({}, Kept)

--- `http.request` refuses schemes that it has no socket for: TLS is the kept one's affair.
local function plain_url()
  return (worker.base_url:gsub("^https:", "http:")) .. worker.target()
end

worker.serve(function()
  local parts = {}
  local _, status = assert(http.request {
    url = plain_url(),
    headers = {
      authorization = "Bearer " .. worker.secret_key,
      accept = "application/json",
      ["clerk-api-version"] = "2026-05-12",
      connection = "keep-alive",
    },
    create = function()
      return kept
    end,
    sink = ltn12.sink.table(parts),
  })
  assert(status == 200, status)
  return cjson.decode(table.concat(parts))
end)
