-- The manual's nginx configurations, part by part in a real nginx, with the emulator as the API.

local documents = require "support.documents"
local emulate = require "support.emulate"
local machines = require "clerk.machines"
local nginx = require "support.nginx"
local process = require "support.process"

if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local KEY = "sk_test_manual"

--- The manual's configuration that begins with this.
local function configuration(beginning)
  for _, snippet in ipairs(documents.of_kind "nginx") do
    if snippet.text:sub(1, #beginning) == beginning then return snippet.text end
  end
  error("no configuration begins with " .. beginning)
end

--- The parts of the configuration, as nginx.start takes them.
local function parts_of(text)
  local main, http, init, server = text:match(
    "^(.*)\nhttp {\n(.*)  init_by_lua_block (%b{})\n\n  server {\n    listen 8080;\n(.*)  }\n}\n$")
  assert(server, "the configuration has another form")
  return { main = main, http = http, init = init:sub(2, -2), server = server }
end

--- The parts of the gate's: what stands in http.
local function parts_of_gate(text)
  local http, init, server = text:match "^(.*)\ninit_by_lua_block (%b{})\n\nserver {\n(.*)}\n$"
  assert(server, "the gate's configuration has another form")
  return { http = http, init = init:sub(2, -2), server = server }
end

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
    local options = parts_of(configuration "env CLERK_SECRET_KEY;")
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

  it("lets only machines through its gate that may call this one, also by auth_request", function()
    local client = machines.new { secret_key = KEY, base_url = url }
    local service = client:create { name = "service" }
    local options = parts_of_gate(configuration "resolver")
    options.server = options.server .. configuration "location /reports/"
    options.environment = ("CLERK_API_URL=%s CLERK_SECRET_KEY=%s CLERK_MACHINE_ID=%s")
      :format(url, KEY, service.id)
    options.server = options.server:gsub("proxy_pass [^;]+;",
      "proxy_pass http://unix:@DIRECTORY@/service:/;")
    options.http = options.http .. [[
      server {
        listen unix:@DIRECTORY@/service;
        location / { content_by_lua_block { ngx.print(ngx.var.http_x_clerk_machine_id) } }
      }
    ]]
    local web = nginx.start(options)
    local function get(scopes, path)
      local caller = client:create { name = "caller", scoped_machines = scopes }
      local minting = machines.new { machine_secret_key = caller.secret_key, base_url = url }
      local header = process.quote("Authorization: Bearer " .. minting:create_token().token)
      return caller.id, (select(2, process.run(web:curl(path, nil, "-m 60 -H " .. header))))
    end
    for _, path in ipairs { "/", "/reports/" } do
      local id, output = get({ service.id }, path)
      assert.equal(id .. "\n200", output)
      assert.matches("\n403$", (select(2, get({}, path))))
      assert.equal(401, (select(2, web:get(path))))
    end
    client:close()
  end)
end)
