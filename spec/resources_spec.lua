-- A process that runs out of file descriptors: calls fail with an error that says so, whichever
-- part needed one.

local descriptors = require "support.descriptors"
local machines = require "clerk.machines"
local posix = require "support.posix"
local server = require "support.server"

local LIMIT = 200

--- Leaves this process `free` descriptors while f runs.
local function with_descriptors(free, f)
  for _ = 1, 2 do collectgarbage() end -- nothing is to be collected, and closed, meanwhile
  local old = posix.limit_descriptors(LIMIT)
  local files = {}
  for file in function() return (io.open "/dev/null") end do files[#files + 1] = file end
  for _ = 1, free do table.remove(files):close() end
  local ok, problem = pcall(f)
  for _, file in ipairs(files) do file:close() end
  posix.limit_descriptors(old)
  if not ok then error(problem, 0) end
end

describe("Without a free file descriptor", function()
  after_each(server.stop_all)

  local urls = {
    ["an address"] = function(web) return web:url "/v1" end,
    ["a name over http"] = function(web) return ("http://localhost:%d/v1"):format(web.port) end,
    ["a name that is unknown"] = function() return "https://machines.invalid/v1" end,
  }

  local function check(err)
    assert.is_true(machines.is_error(err), tostring(err))
    assert.equal("TransportError", err.type)
    assert.equal("no_resources", err.code)
    assert.equal("create", err.operation)
    assert.is_false(err.maybe_applied)
    assert.equal(1, err.attempts)
    assert.matches("file descriptor", err.message)
  end

  for what, url_of in pairs(urls) do
    it("a call to " .. what .. " says so, the first one and a later one", function()
      local web = server.start [[
        connection:answer_all(200, '{"id":"mch_1","secret_key":"ak_1"}', "Connection: close")
      ]]
      local client = machines.new { secret_key = "sk_test_resources", base_url = url_of(web) }
      with_descriptors(0, function()
        check(select(2, pcall(client.create, client, { name = "a" })))
        check(select(2, pcall(client.create, client, { name = "a" })))
        local task = client:spawn(client.create, client, { name = "a" })
        check(select(2, pcall(task.result, task)))
      end)
      assert.equal(0, #web:requests())
    end)

    it("a call to " .. what .. " succeeds or says so when only a few are left", function()
      local web = server.start [[
        connection:answer_all(200, '{"id":"mch_1","secret_key":"ak_1"}', "Connection: close")
      ]]
      for free = 1, 6 do
        local client = machines.new { secret_key = "sk_test_resources", base_url = url_of(web) }
        local ok, err
        with_descriptors(free, function()
          ok, err = pcall(client.create, client, { name = "a" })
        end)
        if not ok and err.code ~= "dns_failed" then check(err) end
        client:close()
      end
    end)
  end

  it("the same client goes on once there are some", function()
    local web = server.start [[
      connection:answer_all(200, '{"id":"mch_1"}')
    ]]
    local client = machines.new { secret_key = "sk_test_resources", base_url = web:url "/v1" }
    with_descriptors(0, function() assert.is_false(pcall(client.get, client, "mch_1")) end)
    assert.equal("mch_1", client:get("mch_1").id)
    local count = descriptors.count()
    with_descriptors(0, function() pcall(client.get, client, "mch_1") end)
    assert.equal(count, descriptors.count())
  end)

  it("a wait of a task does not spin or hang", function()
    local client = machines.new {
      secret_key = "sk_test_resources", base_url = "http://127.0.0.1:1/v1", retries = false,
    }
    with_descriptors(0, function()
      local task = client:spawn(function() return pcall(client.get, client, "mch_1") end)
      client:run()
      assert.equal("no_resources", select(2, task:result()).code)
    end)
  end)
end)
