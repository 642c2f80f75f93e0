-- Neither the secret key nor a machine's secret appears in anything that a program may print.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local paths = require "support.secret_paths"
local process = require "support.process"
local safe = require "clerk.machines.safe"

local KEY = paths.key
local LUA = require("support.interpreter").name

--- The fields of a result that may hold a secret.
local SECRET_FIELDS = { secret = true, secret_key = true, token = true }

local function is_asked_for(value, name)
  return getmetatable(value) == core.result and SECRET_FIELDS[name]
end

--- Fails when a secret is in any string within a value, or in its `tostring`. The fields of results
--- above may hold one.
local function search(value, path, holds_secret, seen)
  if type(value) == "string" then
    assert(not value:find("MARKED", 1, true), "a secret in " .. path .. ": " .. value)
    return
  elseif value == nil or seen[value] then
    return
  end
  seen[value] = true
  search(tostring(value), "tostring(" .. path .. ")", false, seen)
  search(debug.getmetatable(value), path .. "'s metatable", holds_secret, seen)
  for name, member in pairs(type(value) == "table" and value or {}) do
    search(name, path .. ", a name", holds_secret, seen)
    if not (holds_secret and is_asked_for(value, name)) then
      search(member, path .. "." .. tostring(name), holds_secret, seen)
    end
  end
end

local function check(value, path, holds_secret)
  search(value, path, holds_secret, {})
end

describe("No secret is", function()
  after_each(task_server.stop_all)

  for _, path in ipairs(paths) do
    it("in the outcome of " .. path.name, function() path.run(check) end)
  end

  it("printed on any of these paths", function()
    local program = [[for _, path in ipairs(require "support.secret_paths") do
      path.run(function() end)
    end]]
    local status, output, errors = process.run(("env LUA_CPATH='build/%s/?.so;;' %s -e %s")
      :format(LUA, LUA, process.quote(program)))
    assert.same({ 0, "", "" }, { status, output, errors })
  end)

  it("shown by `tostring` of a value that carries one", function()
    local client = machines.new { secret_key = KEY }
    local call = core.call("get_secret_key", client.settings.prepared, 0, nil, "mch_1")
    local request = call:request("secret_key", KEY)
    request.timeout_ms, request.connect_timeout_ms, request.max_response_bytes = 1, 1, 1
    local curl = core.curl { max_connections = 1 }
    local transfer = curl:start(request)
    for what, value in pairs { call = call, curl = curl, transfer = transfer } do
      check(value, what)
    end
    curl:close()
  end)

  it("shown by `tostring` of a result that holds one", function()
    local api = emulator.new { secret_key = KEY }
    local client = machines.new { secret_key = KEY, transport = api }
    local machine = client:create { name = "a" }
    local shown = { tostring(machine), tostring(client:get_secret_key(machine.id)),
      tostring(client:rotate_secret_key(machine.id, { previous_token_ttl = 0 })),
      tostring(client), tostring(client:list()) }
    for _, text in ipairs(shown) do
      assert.falsy(text:find("ak_", 1, true), text)
      assert.falsy(text:find("MARKED", 1, true), text)
    end
  end)

  it("in the error about a refused key", function()
    for _, key in ipairs { KEY .. "\n", KEY .. "\0", "\r" .. KEY } do
      local _, err = safe.new { secret_key = key }
      check(err, "the error")
      local client = safe.new { secret_key = function() return key end }
      local _, later = client:list()
      assert.equal("ArgumentError", later.type)
      check(later, "the error")
    end
  end)

  it("in the error about another refused argument", function()
    local client = machines.new { secret_key = KEY }
    for _, mistake in ipairs {
      function() machines.new { secret_key = KEY, headers = { Authorization = KEY } } end,
      function() machines.new { secret_key = KEY, headers = { a = KEY .. "\n" } } end,
      function() machines.new { secret_key = KEY, user_agent = KEY .. "\n" } end,
      function() machines.new { secret_key = KEY, base_url = "https://u:" .. KEY .. "@a" } end,
      function() client:create { name = { KEY } } end,
      function() client:get(KEY .. "\n") end,
      function() client:verify_token { token = KEY .. "\0" } end,
      function() client:verify_token { token = { KEY } } end,
      function() client:verify_token { token = KEY, tokens = KEY } end,
    } do
      local ok, err = pcall(mistake)
      assert.is_false(ok)
      assert.equal("ArgumentError", err.type)
      check(err, "the error")
    end
    check(client, "the client")
  end)
end)
