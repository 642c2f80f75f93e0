--- Serves an emulator over HTTP/1.1 and, with TLS, over HTTP/2.

local cqueues_signal = require "cqueues.signal"
local http_server = require "http.server"
local http_tls = require "http.tls"
local pkey = require "openssl.pkey"
local x509 = require "openssl.x509"

local certificates = require "clerk.machines.emulator.certificates"
local exchange = require "clerk.machines.emulator.exchange"
local schema = require "clerk.machines.schema"

local IDLE_SECONDS = 120

local function complain(message)
  io.stderr:write(message, "\n")
end

local OPTIONS = schema.new {
  { name = "host", kind = "string", default = "127.0.0.1" },
  { name = "port", kind = "integer", min = 0, max = 65535, default = 0 },
  { name = "tls", kind = "boolean" },
  { name = "on_listening", kind = "function", default = complain },
  { name = "on_error", kind = "function", default = complain },
}

local server = {}

-- ---------------------------------------------------------------- TLS

local function choose_protocol(_, offered)
  for _, protocol in ipairs(offered) do
    if protocol == "h2" or protocol == "http/1.1" then
      return protocol
    end
  end
end

local function tls_context(pem)
  local context = http_tls.new_server_context()
  context:setCertificate(x509.new(pem.certificate))
  context:setPrivateKey(pkey.new(pem.key))
  context:setAlpnSelect(choose_protocol)
  return context
end

local function certified_hosts(host)
  local hosts = { host }
  for _, each in ipairs(certificates.LOOPBACK) do
    if each ~= host then
      hosts[#hosts + 1] = each
    end
  end
  return hosts
end

local function write_temporary(bytes)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  assert(file:write(bytes))
  file:close()
  return name
end

-- ---------------------------------------------------------------- listening

local function new_listener(emulator, settings, context)
  local listener, problem = http_server.listen {
    host = settings.host,
    port = settings.port,
    tls = context ~= nil,
    ctx = context,
    intra_stream_timeout = IDLE_SECONDS,
    onstream = function(_, stream)
      exchange.run(emulator, stream)
    end,
    onerror = function(_, _, operation, why)
      if operation == "onstream" then
        settings.on_error(tostring(why))
      end
    end,
  }
  local bound = listener
  if listener then
    bound, problem = listener:listen()
  end
  return bound and listener, problem
end

local function base_url(listener, settings)
  local scheme, host = settings.tls and "https" or "http", settings.host
  if host:find(":", 1, true) then
    host = "[" .. host .. "]"
  end
  local _, _, port = listener:localname()
  return ("%s://%s:%d/v1"):format(scheme, host, port)
end

local function run_until_signal(listener, signals, on_error)
  local stopped = false
  listener.cq:wrap(function()
    signals:wait()
    stopped = true
  end)
  while not stopped do
    local ok, problem = listener:step()
    if not ok then
      on_error(tostring(problem))
    end
  end
end

local function check(given)
  local settings, problem = schema.complete(OPTIONS, given)
  return settings or error("serve: " .. problem, 3)
end

---@class clerk.machines.emulator.ServerOptions
---@field host string? 127.0.0.1 by default
---@field port integer? 0, the default, takes a free one
---@field tls boolean? with a new CA for this server
---@field on_listening (fun(url: string, ca_file: string?))? gets the base URL of the API and, with
---TLS, the file of the CA's certificate, which exists until the server ends; by default the URL is
---printed on stderr
---@field on_error (fun(message: string))? for failures of the emulator itself; prints on stderr by
---default

---Serves until SIGINT or SIGTERM arrives.
---@param emulator clerk.machines.Emulator
---@param given clerk.machines.emulator.ServerOptions
---@return true?
---@return string? problem why it cannot listen
function server.serve(emulator, given)
  local settings = check(given)
  cqueues_signal.block(cqueues_signal.SIGINT, cqueues_signal.SIGTERM)
  local signals = cqueues_signal.listen(cqueues_signal.SIGINT, cqueues_signal.SIGTERM)
  local pem = settings.tls and certificates.new { hosts = certified_hosts(settings.host) }
  local listener, why = new_listener(emulator, settings, pem and tls_context(pem))
  if not listener then
    return nil, ("cannot listen on %s, port %d: %s"):format(settings.host, settings.port, why)
  end
  local ca_file = pem and write_temporary(pem.ca) or nil
  local ok, problem = pcall(function()
    settings.on_listening(base_url(listener, settings), ca_file)
    run_until_signal(listener, signals, settings.on_error)
  end)
  listener:close()
  if ca_file then
    os.remove(ca_file)
  end
  return ok or error(problem, 0)
end

return server
