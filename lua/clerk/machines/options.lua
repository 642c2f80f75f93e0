--- The options: one table of all, some of which may also be given with a call.

local runtime = require "clerk.machines.runtime"
local schema = require "clerk.machines.schema"

local LARGEST = schema.LARGEST
local LARGEST_EXACT = 2 ^ 53

local function ms(name, default, summary)
  return {
    name = name,
    kind = "number", min = 0, max = LARGEST,
    default = default,
    summary = summary,
  }
end

local backoff = schema.new {
  ms("initial_interval", 500, "Wait before the second attempt, in milliseconds."),
  ms("max_interval", 60000, "Longest wait between two attempts, in milliseconds."),
  {
    name = "exponent",
    kind = "number", min = 1, max = 1000,
    default = 1.5,
    summary = "Factor by which the wait grows after each attempt.",
  },
  ms("max_elapsed_time", 60000,
    "Milliseconds after the start of the call; a wait that would end later is not started."),
}

local retries = schema.new {
  {
    name = "strategy",
    kind = "one_of", values = { "backoff", "none" },
    default = "backoff",
    summary = '`"none"` never repeats a request.',
  },
  {
    name = "backoff",
    kind = "group",
    members = backoff,
    summary = "How long to wait between attempts. The actual wait is random, "
      .. "between half of the computed time and all of it, and never shorter than `Retry-After`.",
  },
  {
    name = "retry_connection_errors",
    kind = "boolean",
    default = true,
    summary = "Whether to repeat a request after a failure that may pass, such as `timeout`.",
  },
  {
    name = "status_codes",
    kind = "status_codes",
    default = { "5XX", 429 },
    summary = "Statuses after which a request is repeated: numbers, or classes such as `\"5XX\"`.",
  },
  {
    name = "repeat_unsafe",
    kind = "boolean",
    default = false,
    summary = "Whether to repeat a request that adds something, such as `create`, like any other "
      .. "one, although it may then be added twice. Otherwise it is repeated only after a 429, or "
      .. "when it was not sent.",
  },
}

--- A client needs one key; its operations say which.
local function refuse_no_key(machine_key, _, checked)
  if machine_key == nil and checked.secret_key == nil then
    return "secret_key is missing: give it or set CLERK_SECRET_KEY, or machine_secret_key and "
      .. "CLERK_MACHINE_SECRET_KEY" .. runtime.environment_hint "CLERK_SECRET_KEY"
  end
end

--- Refuses what only our own transport can do, and not in every runtime.
local function own_transport_only(name)
  return function(value, context)
    if value ~= nil and context.has_transport then
      return name .. " has no effect with a transport of your own"
    end
    return value ~= nil and runtime.refuse_option(name) or nil
  end
end

--- In all of Clerk's tools this variable holds the URL of a host, without the API's path.
local function add_path(api_url)
  return (api_url:gsub("^(%a+://[^/]+)/*$", "%1/v1"))
end

--- Every option: `kind`, `min` and `max` say what is allowed, and `type` is its type for LuaLS if
--- the kind does not say it. `per_call`: a call may override it. `default` or, where that is not a
--- value, `default_text`, and `summary` are for the reference. `variable`: the environment variable
--- that `machines.new` falls back to, unless it is empty, after `adapt`. `refuse(value, context,
--- checked)` returns a problem that depends on more than the value: `checked` has the rows before.
return schema.new {
  {
    name = "secret_key",
    kind = "secret_key",
    variable = "CLERK_SECRET_KEY",
    summary = "The instance's secret key (`sk_…`), or a function that returns it and is called "
      .. "for every attempt. A client needs this one or `machine_secret_key`.",
  },
  {
    name = "machine_secret_key",
    kind = "secret_key",
    variable = "CLERK_MACHINE_SECRET_KEY",
    refuse = refuse_no_key,
    summary = "A machine's secret key (`ak_…`), or a function as above. `create_token` needs it; "
      .. "`list_tokens`, `revoke_token` and `verify_token` prefer it to `secret_key`.",
  },
  {
    name = "base_url",
    kind = "url",
    variable = "CLERK_API_URL",
    adapt = add_path,
    default = "https://api.clerk.com/v1",
    per_call = true,
    summary = "URL of the API: https, or http to 127.0.0.0/8, [::1] and localhost. "
      .. "If the URL in `$CLERK_API_URL` has no path, `/v1` is added.",
  },
  {
    name = "timeout_ms",
    kind = "integer", min = 1, max = LARGEST,
    default = 10000,
    per_call = true,
    summary = "Time limit of one attempt, in milliseconds.",
  },
  {
    name = "connect_timeout_ms",
    kind = "integer", min = 1, max = LARGEST,
    default = 5000,
    summary = "Time limit for connecting, within an attempt, in milliseconds.",
  },
  {
    name = "deadline_ms",
    kind = "integer", min = 1, max = LARGEST,
    per_call = true,
    summary = "Time limit of the whole call with all attempts and waits, in milliseconds.",
  },
  {
    name = "retries",
    kind = "group",
    members = retries,
    off = { strategy = "none" },
    per_call = true,
    summary = "When and how to repeat a request: a table whose fields replace single "
      .. "defaults, or `false` to never repeat.",
  },
  {
    name = "headers",
    kind = "headers",
    default = {},
    per_call = true,
    summary = "Headers to add to each request. `Authorization`, `Accept-Encoding` and headers "
      .. "that frame the message cannot be set.",
  },
  {
    name = "api_version",
    kind = "string",
    default = "2026-05-12",
    summary = "Version of the API, sent as `Clerk-API-Version`.",
  },
  {
    name = "user_agent",
    kind = "string",
    summary = "Text to put before this library's own `User-Agent`.",
  },
  {
    name = "max_connections",
    kind = "integer", min = 1, max = 10000,
    default = 32,
    summary = "Connection limit: how many requests run at once, and how many idle "
      .. "connections are kept. In nginx it applies to each worker.",
  },
  {
    name = "max_response_bytes",
    kind = "integer", min = 1, max = LARGEST_EXACT,
    default = 64 * 1024 * 1024,
    summary = "Largest response body in bytes, after decompression. A larger one ends the "
      .. "transfer with `response_too_large`.",
  },
  {
    name = "ca_file",
    kind = "string",
    refuse = own_transport_only "ca_file",
    default_text = "the system's authorities",
    summary = "PEM file of certificate authorities to trust in addition to the system's. "
      .. "Only with libcurl.",
  },
  {
    name = "proxy",
    kind = "string",
    refuse = own_transport_only "proxy",
    default_text = "`$https_proxy` and `$no_proxy`, as libcurl reads them",
    summary = "URL of an http, https or socks proxy. Only with libcurl.",
  },
  {
    name = "transport",
    kind = "transport",
    default_text = "libcurl; in nginx, cosockets",
    summary = "An object that sends the requests instead.",
  },
  {
    name = "on_event",
    kind = "function",
    type = "fun(event: clerk.machines.Event|clerk.machines.PageEvent)",
    per_call = true,
    summary = "A function that is called with each event of each call. A call's own function is "
      .. "called in addition to the client's.",
  },
  {
    name = "allow_http",
    kind = "boolean",
    default = false,
    summary = "Whether to allow plain http to any host. Anyone on the network can then read the "
      .. "secret key.",
  },
  {
    name = "check_bounds",
    kind = "boolean",
    default = true,
    summary = "Whether to check the bounds of numbers and lengths before sending. If false, "
      .. "the API checks them. Types, names and the `limit` of pagination are always checked here.",
  },
}

