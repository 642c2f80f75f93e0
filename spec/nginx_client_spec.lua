-- The specs of the client and of its transport, run inside nginx, except for what concerns libcurl
-- or steps, which only a host makes.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local nginx = require "support.nginx"
local process = require "support.process"

-- Each file with the least number of specs that run, and patterns of those that do not apply.
local FILES = {
  { "arguments", 800 },
  { "cancel", 10, "before it starts", "catches the error", "yields on its own",
    "on its connection undisturbed", "on it, and only these tasks", "blocking call outside",
    "interrupted by a signal" },
  { "client", 10, "malformed proxy" },
  { "end_to_end", 5, "Over TLS" },
  { "errors", 100 },
  { "libcurl", 150, "unpack", "a nonsensical chunk", "through a proxy", "leaves the process",
    "after a fork", "do not share connections" },
  { "queue", 10, "over HTTP/2", "over TLS", "on_event that has cancelled it",
    "that another call is making", "where a task cannot yield" },
  { "retries", 100 },
  { "secrets", 10 },
  { "tasks", 10, "after long work", "more tasks are ready",
    "blocks within a task, while", "resume its task itself", "wait only when they may",
    "however often they are interrupted", "which the step does",
    "return the function's results", "by a coroutine that the task has resumed" },
  { "pages", 90 },
  { "wire", 50 },
}

describe("Inside nginx all specs pass of", function()
  local dns, configuration

  setup(function()
    dns = process.start "luajit spec/support/dns_server.lua"
    configuration = {
      main = "env PATH; env LUA_PATH; env LUA_CPATH;",
      http = ("resolver %s ipv6=off;"):format(dns:read_line():match "[%d.:]+$"),
    }
  end)

  teardown(function()
    dns:stop()
    process.none_left()
  end)

  after_each(nginx.stop_all)

  local function run(file, patterns)
    local arguments = { [0] = "busted", "-o", "plainTerminal", ("spec/%s_spec.lua"):format(file) }
    for _, pattern in ipairs(patterns) do
      table.insert(arguments, "--filter-out=" .. pattern:gsub("%p", "%%%0"))
    end
    local web = nginx.start(configuration)
    return web:run([[ return require "support.busted_in_nginx" (...) ]], arguments)
  end

  for _, row in ipairs(FILES) do
    local file, least = row[1], row[2]
    it(file, function()
      local output = run(file, { unpack(row, 3) })
      local good, bad, broken = output:match "(%d+) success%S* / (%d+) failure%S* / (%d+) error"
      assert.same({ 0, 0 }, { tonumber(bad), tonumber(broken) }, output)
      assert.is_true(tonumber(good) >= least, output)
    end)
  end
end)
