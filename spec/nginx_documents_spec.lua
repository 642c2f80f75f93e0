-- The manual's nginx configurations, part by part in a real nginx, with the emulator as the API.

local documents = require "support.documents"
local emulate = require "support.emulate"
local machines = require "clerk.machines"
local nginx = require "support.nginx"
local process = require "support.process"

if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local KEY = "sk_test_manual"

--- The parts of the configuration, as nginx.start takes them.
local function parts_of(text)
  local main, http, init, server = text:match(
    "^(.*)\nhttp {\n(.*)  init_by_lua_block (%b{})\n\n  server {\n    listen 8080;\n(.*)  }\n}\n$")
  assert(server, "the configuration has another form")
  return { main = main, http = http, init = init:sub(2, -2), server = server }
end

local configuration = documents.of_kind "nginx"[1].text

describe("The manual's nginx configuration", function()
  local emulator, url

  before_each(function()
    emulator, url = emulate("--secret-key " .. KEY)
  end)

  after_each(function()
    nginx.stop_all()
    emulator:stop()
    process.none_left()
  end)

  local function start(key)
    local options = parts_of(configuration)
    options.init = options.init:gsub("%.new%(%)", (".new { base_url = %q }"):format(url))
    options.environment = "CLERK_SECRET_KEY=" .. key
    return nginx.start(options)
  end

  it("answers with a machine's name", function()
    local client = machines.new { secret_key = KEY, base_url = url }
    local machine = client:create { name = "gateway" }
    client:close()
    local web = start(KEY)
    assert.same({ "gateway\n", 200 }, { web:get("/machines/" .. machine.id) })
    assert.equal(404, (select(2, web:get "/machines/mch_of_nobody")))
  end)

  it("logs what went wrong, without the key", function()
    local web = start "sk_test_wrong"
    assert.equal(502, (select(2, web:get "/machines/mch_1")))
    assert.matches("ClerkErrors: get: .- %(401 clerk_key_invalid; trace ", web:log())
    assert.is_nil(web:log():find("sk_test_wrong", 1, true))
  end)
end)
