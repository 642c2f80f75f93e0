-- Inside nginx: many requests, reloads at the same time, and what remains of both.
--
-- CLERK_NGINX_REQUESTS says how many; a hundred thousand take a minute or two.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local files = require "support.files"
local nginx = require "support.nginx"
local process = require "support.process"
local server = require "support.server"

local REQUESTS = tonumber(os.getenv "CLERK_NGINX_REQUESTS") or 2000
local BATCH = 500
local RELOADS = 10
local LUA_TOLERANCE_KB, RESIDENT_TOLERANCE_KB = 64, 1024

-- Records nothing: it would be too much.
local ECHO = [[
  for request in function() return connection:read_request_head() end do
    connection:answer(200, ('{"id":"%s"}'):format(request.line:match "mch_%w+"))
  end
]]
local CLIENT = [[
  client = require("clerk.machines").new { secret_key = "sk_test_1", base_url = "%s" }
]]
local SERVER = [[
  location /get/ {
    content_by_lua_block {
      local id = ngx.var.uri:sub(6)
      local ok, problem = pcall(function() assert(client:get(id).id == id) end)
      if not ok then
        ngx.log(ngx.ERR, tostring(problem))
        ngx.exit(500)
      end
    }
  }
  location /memory {
    content_by_lua_block {
      collectgarbage()
      collectgarbage()
      ngx.print(collectgarbage "count")
    }
  }
]]

describe("Inside nginx", function()
  local api

  before_each(function() api = server.start(ECHO) end)

  after_each(function()
    nginx.stop_all()
    server.stop_all()
  end)

  local function start(options)
    options.init, options.server = CLIENT:format(api:url "/v1"), SERVER
    return nginx.start(options)
  end

  -- A command that sends `count` requests, 50 at once, and prints the status of each.
  local function curl(web, count)
    local arguments = "-Z --no-progress-meter --parallel-max 50 -o /dev/null"
    return web:curl(("/get/mch_[1-%d]"):format(count), nil, arguments)
  end

  -- The number of statuses, which must all be 200.
  local function count_answers(web, statuses)
    local others, count = statuses:gsub("\n200", "")
    assert.equal("", others, web:log())
    return count
  end

  local function hammer(web, count)
    local _, statuses = process.run(curl(web, count))
    assert.equal(count, count_answers(web, statuses))
  end

  -- Sends requests until it is stopped, or nginx's directory is gone.
  local function hammer_on(web)
    local going, statuses = web.directory .. "/going", web.directory .. "/statuses"
    files.write(going, "")
    files.write(statuses, "")
    local loop = ("while [ -e %s ]; do %s >>%s; done"):format(going, curl(web, BATCH), statuses)
    local background = process.start("sh -c " .. process.quote(loop))
    local function count() return select(2, files.read(statuses):gsub("\n", "")) end
    local function stop()
      os.remove(going)
      background:wait()
      return count_answers(web, files.read(statuses))
    end
    return count, stop
  end

  it("no response is lost while nginx reloads", function()
    local web = start { workers = 2 }
    local count, stop = hammer_on(web)
    local reloads = 0
    while reloads < RELOADS or count() < REQUESTS do
      local before = count()
      web:reload()
      web:wait_until("an answer", function() return count() > before end)
      reloads = reloads + 1
    end
    assert.equal(0, stop() % BATCH)
    assert.not_matches("exited on signal", web:log(), 1, true)
  end)

  local function status_of(pid, name)
    for line in io.lines(("/proc/%d/status"):format(pid)) do
      local value = line:match("^" .. name .. ":%s+(%d+)")
      if value then return tonumber(value) end
    end
  end

  local function descriptors_of(pid)
    local _, output = process.run(("ls /proc/%d/fd | wc -l"):format(pid))
    return tonumber(output)
  end

  it("memory and descriptors do not grow with the requests", function()
    local web = start {}
    local function measure()
      local lua = tonumber((web:get "/memory"))
      return lua, status_of(web:workers()[1], "VmRSS"), descriptors_of(web:workers()[1])
    end
    hammer(web, math.max(REQUESTS, 2000))
    local lua, resident, descriptors = measure()
    hammer(web, REQUESTS)
    local lua_after, resident_after, descriptors_after = measure()
    assert.is_true(lua_after - lua < LUA_TOLERANCE_KB, lua_after)
    assert.is_true(resident_after - resident < RESIDENT_TOLERANCE_KB, resident_after)
    assert.equal(descriptors, descriptors_after)
  end)

  it("the master process does not grow with reloads, which load the library again", function()
    local web = start {}
    for _ = 1, RELOADS do web:reload() end
    local resident = status_of(web.handle.pid, "VmRSS")
    local descriptors = descriptors_of(web.handle.pid)
    for _ = 1, RELOADS do web:reload() end
    assert.equal(descriptors, descriptors_of(web.handle.pid))
    assert.is_true(status_of(web.handle.pid, "VmRSS") - resident < RESIDENT_TOLERANCE_KB)
  end)
end)
