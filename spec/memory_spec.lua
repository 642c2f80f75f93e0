-- Out of memory: while a client does everything that it can do, each allocation fails in turn. The
-- failure is raised or overcome; nothing crashes, leaks or goes wrong, then or later. See
-- support/failing_memory.lua for how, and support/memory_scenarios.lua for what is done.
--
-- CLERK_MEMORY_STRIDE=7 fails only every seventh allocation; CLERK_MEMORY_RUNNER is put in front of
-- the interpreter: CLERK_MEMORY_RUNNER="valgrind -q --error-exitcode=1 \
-- --soname-synonyms=somalloc=nouserintercepts …", which leaves memory.c its own malloc.

local process = require "support.process"
local scenarios = require "support.memory_scenarios"
local server = require "support.server"

local quote = process.quote

local LUA = require("support.interpreter").name
local STRIDE = os.getenv "CLERK_MEMORY_STRIDE" or "1"
local RUNNER = os.getenv "CLERK_MEMORY_RUNNER" or ""
local PATIENCE_SECONDS = 120 -- for a program that hangs
local KEY = require "support.fake".secret_key

-- The server acts by the ID in the path.
local SCRIPT = [==[
  local MACHINE = '{"object":"machine","id":"%s"}'
  local WRONG = '{"errors":[{"message":"the request is wrong","code":"wrong"}]}'
  local CREATED = '{"name":"worker","default_token_ttl":600}'

  local special = {}
  function special.mch_hang() connection:hang() end
  function special.mch_html() connection:answer(404, "<html></html>") end
  function special.mch_nobody()
    connection:answer(404, '{"errors":[{"message":"no","code":"machine_not_found"}]}')
  end
  function special.mch_broken() connection:answer(200, '{"id":') end
  function special.mch_packed() connection:answer(200, values.packed, "Content-Encoding: gzip") end
  function special.mch_drop() return "is over" end
  function special.mch_cut()
    connection:write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    return "is over"
  end
  function special.mch_flood()
    connection:write("HTTP/1.1 200 OK\r\n\r\n", ("x"):rep(1000))
    return "is over"
  end
  function special.mch_garbage()
    connection:write "garbage\r\n\r\n"
    return "is over"
  end
  function special.mch_unpackable()
    connection:answer(200, "garbage", "Content-Encoding: gzip")
  end
  function special.mch_moved()
    connection:answer(302, "", "Location: https://elsewhere.example")
  end
  function special.mch_headers()
    local lines = {}
    for i = 1, 12 do
      lines[i] = "X-Part: " .. i .. ("."):rep(1000)
      lines[12 + i] = "X-Number: " .. i
    end
    connection:answer(200, MACHINE:format "mch_headers", unpack(lines))
  end
  function special.mch_busy()
    connection:answer(429, '{"errors":[{"message":"busy","code":"busy"}]}', "Retry-After: 3600")
  end
  function special.mch_again()
    shared.turn = not shared.turn
    connection:answer(shared.turn and 503 or 200, MACHINE:format "mch_again")
  end

  -- Two that wait for each other, and a third that must not come before one of them has left.
  function special.mch_pair()
    shared.came, shared.left = (shared.came or 0) + 1, shared.left or 0
    local is_crowd = shared.came - shared.left > 2
    while shared.came < 2 do connection:sleep(1) end
    connection:sleep(10)
    shared.left = shared.left + 1
    if shared.left == 3 then shared.came, shared.left = 0, 0 end
    connection:answer(is_crowd and 400 or 200, is_crowd and WRONG or MACHINE:format "mch_pair")
  end

  local function is_right(request, id)
    local headers = request.headers
    return headers.authorization == "Bearer " .. values.key
      and headers.accept == "application/json"
      and headers["clerk-api-version"]
      and (headers["user-agent"] or ""):find "^clerk%-machines/"
      and (request.method == "GET"
        or request.body == CREATED and headers["content-type"] == "application/json")
      and (id == "mch_proxied") == (request.target:find "^http:" ~= nil)
  end

  -- A page of five machines.
  local function page_at(target)
    local limit, offset = target:match "limit=(%d+)&offset=(%d+)&query=paged"
    local rows = {}
    for i = offset + 1, math.min(5, offset + limit) do
      rows[#rows + 1] = ('{"id":"mch_%d","created_at":%d}'):format(i, i)
    end
    return ('{"data":[%s],"total_count":5}'):format(table.concat(rows, ","))
  end

  local function answer(request, id)
    if not is_right(request, id) then return connection:answer(400, WRONG) end
    if special[id] then return special[id]() end
    if request.method == "POST" then return connection:answer(200, success "mch_created") end
    if request.target:find "query=paged" then
      return connection:answer(200, page_at(request.target))
    end
    connection:answer(200, id and MACHINE:format(id) or values.page)
  end

  for request in connection:requests() do
    if answer(request, request.target:match "mch_%w+$") == "is over" then break end
  end
]==]

local function page_of(count)
  local rows = {}
  for i = 1, count do rows[i] = ('{"object":"machine","id":"mch_%d"}'):format(i) end
  return ('{"data":[%s],"total_count":%d}'):format(table.concat(rows, ","), count)
end

local output_of = process.output_of

local function start_server()
  local packed = output_of [[printf '{"id":"mch_packed"}' | gzip -c]]
  return server.start(SCRIPT, { values = { key = KEY, page = page_of(500), packed = packed } })
end

local library

local function compile_library()
  library = os.tmpname()
  output_of(("env -u LD_PRELOAD cc -D_GNU_SOURCE -shared -fPIC $(pkg-config --cflags %s) -o %s %s")
    :format(LUA, library, "spec/support/memory.c"))
end

-- Our library is loaded before a sanitizer's and passes on every allocation that does not fail. The
-- leaks that the sanitizer then reports are the loader's; ours are counted without it.
local SANITIZER_OPTIONS = ":verify_asan_link_order=0:detect_leaks=0"

local function environment()
  local others = os.getenv "LD_PRELOAD"
  return table.concat({
    "env",
    "LUA_PATH=" .. quote(package.path),
    "LUA_CPATH=" .. quote(package.cpath),
    "LD_PRELOAD=" .. quote(others and library .. ":" .. others or library),
    "ASAN_OPTIONS=" .. quote((os.getenv "ASAN_OPTIONS" or "") .. SANITIZER_OPTIONS),
  }, " ")
end

local function sweep(kind, scenario, web)
  local words = { environment(), "timeout --foreground", PATIENCE_SECONDS, RUNNER, LUA,
    "spec/support/failing_memory.lua", library, kind, STRIDE, quote(scenario.name) }
  if web then
    table.insert(words, 1, "env http_proxy=" .. web:url()) -- not used for the loopback
    words[#words + 1] = "url=" .. web:url "/v1"
    words[#words + 1] = "proxy=" .. web:url()
  end
  output_of(table.concat(words, " "))
end

describe("Out of memory", function()
  setup(compile_library)
  teardown(function() os.remove(library) end)
  after_each(server.stop_all)

  for kind, whose in pairs { lua = "Lua", c = "C" } do
    describe("in " .. whose .. ", nothing is lost or leaked when", function()
      for _, scenario in ipairs(scenarios) do
        if kind == "lua" or not scenario.lua_only then
          it(scenario.name, function()
            sweep(kind, scenario, scenario.needs_server and start_server())
          end)
        end
      end
    end)
  end
end)
