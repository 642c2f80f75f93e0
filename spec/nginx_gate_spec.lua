-- The gate, inside a real nginx with an upstream that shows what reaches it.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local files = require "support.files"
local nginx = require "support.nginx"
local process = require "support.process"
local server = require "support.server"
local signer = require "support.signer"

local quote = process.quote

local KEY = "sk_test_marked_gate_key"
local ME = "mch_gate"

-- The API: opaque tokens are named after what it says of them.
local API = [[
  local TOKEN = '{"object":"machine_to_machine_token","id":"mt_1","subject":"%s","scopes":["%s"],'
    .. '"revoked":false,"revocation_reason":null,"expired":false,"expiration":null,'
    .. '"last_used_at":null,"created_at":1,"updated_at":1}'
  local ERROR = '{"errors":[{"code":"e","message":"m","long_message":"l"}]}'
  for request in connection:requests() do
    local name = request.body:match "mt_(%a+)"
    if name == "caller" or name == "other" then
      connection:answer(200, TOKEN:format("mch_" .. name, "mch_gate"))
    elseif name == "elsewhere" then
      connection:answer(200, TOKEN:format("mch_caller", "mch_another"))
    elseif name == "busy" then
      connection:answer(429, ERROR, "Retry-After: 7")
    else
      connection:answer(name == "unknown" and 404 or 500, ERROR)
    end
  end
]]

local HTTP = [[
  underscores_in_headers on;
  lua_shared_dict clerk_tokens 1m;
  log_format gate '$uri $status [$clerk_machine_id]';
  server {
    listen unix:@DIRECTORY@/upstream;
    location / {
      content_by_lua_block {
        for name, value in pairs(ngx.req.get_headers(0, true)) do
          if type(value) == "table" then value = table.concat(value, ",") end
          ngx.say(name, ": ", value)
        end
      }
    }
  }
]]

local INIT = [[
  local machines = require "clerk.machines"
  local tokens = require "clerk.machines.tokens"
  client = machines.new { secret_key = "%s", base_url = "%s", retries = false }
  function new_gate(options)
    options.verifier = tokens.verifier {
      client = client,
      machine_id = "%s",
      callers = { "mch_caller", "mch_other" },
      jwt_key = [=[%s]=],
      shared_dict = "clerk_tokens",
    }
    return require("clerk.machines.gate").new(options)
  end
  local function made(ok, made) return ok and made or error(tostring(made), 0) end
  gate = made(pcall(new_gate, { realm = "billing" }))
  open_gate = made(pcall(new_gate, { forward_token = true, header = "X-Caller" }))
]]

local SERVER = [[
  set $clerk_machine_id "";
  access_log @DIRECTORY@/access gate;
  location / {
    access_by_lua_block { gate:check() }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /forwards {
    access_by_lua_block { open_gate:check() }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /callers {
    access_by_lua_block { gate:check { callers = { "mch_caller" } } }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /optional {
    access_by_lua_block { gate:check { optional = true } }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /authorize {
    access_by_lua_block {
      gate:check { authorize = function(token) return token.claims and token.claims.may_pay end }
    }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /fails {
    access_by_lua_block { gate:check { authorize = function() error "a fault of the script" end } }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /doubts {
    access_by_lua_block {
      gate:check { authorize = function() client:get "mch_1" end }
    }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /raises_table {
    access_by_lua_block {
      gate:check { authorize = function()
        error(setmetatable({}, { __tostring = function() return "a readable fault" end }))
      end }
    }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /twice {
    content_by_lua_block {
      local _, first = gate:verify()
      local _, second = gate:verify()
      ngx.print(tostring(first == second))
    }
  }
  location /verify {
    content_by_lua_block {
      local token, err, status = gate:verify { optional = true }
      ngx.say(token and token.subject, " ", err and err.code, " ", status)
    }
  }
  location /ctx {
    access_by_lua_block { gate:check() }
    content_by_lua_block {
      ngx.say(ngx.ctx.clerk_token.subject, " ", ngx.var.clerk_machine_id)
    }
  }
  location /open {
    rewrite_by_lua_block { gate:strip() }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location = /auth {
    internal;
    content_by_lua_block { gate:answer { callers = { "mch_caller" } } }
  }
  location /by_request {
    rewrite_by_lua_block { gate:strip() }
    auth_request /auth;
    auth_request_set $caller $sent_http_x_clerk_machine_id;
    proxy_set_header X-Clerk-Machine-Id $caller;
    proxy_set_header Authorization "";
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /any_address {
    satisfy any;
    allow all;
    access_by_lua_block { gate:check() }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /any_denied {
    satisfy any;
    deny all;
    access_by_lua_block { gate:check { optional = true } }
    proxy_pass http://unix:@DIRECTORY@/upstream;
  }
  location /error_page {
    access_by_lua_block { gate:check() }
    error_page 404 = /open_page;
    root @DIRECTORY@/missing;
  }
  location = /open_page {
    content_by_lua_block { ngx.say("open to ", ngx.var.clerk_machine_id) }
  }
  location /subrequest {
    content_by_lua_block { ngx.print(ngx.location.capture("/closed_for_clients").body) }
  }
  location = /closed_for_clients {
    access_by_lua_block { gate:check() }
    content_by_lua_block { ngx.say "reached" }
  }
  location /named {
    access_by_lua_block { gate:check() }
    try_files /nothing @upstream;
  }
  location @upstream { proxy_pass http://unix:@DIRECTORY@/upstream; }
  location /phase { rewrite_by_lua_block { gate:check() } }
]]

local own = signer.new()

local function jwt(claims)
  local payload = ('{"sub":"mch_caller","exp":%d%s}'):format(os.time() + 3600, claims or "")
  return own:jwt('{"alg":"RS256","typ":"JWT","kid":"ins_1"}', payload)
end

-- nginx, asked with these header lines. Returns the status, the body and the head of the answer.
local function asking(web, path, ...)
  local arguments = { "-m 60 -i" }
  for _, line in ipairs { ... } do table.insert(arguments, "-H " .. quote(line)) end
  local _, output = process.run(web:curl(path, nil, table.concat(arguments, " ")))
  local head, body = output:match "^(.-)\r\n\r\n(.*)\n%d+$"
  return tonumber(head:match "^HTTP/1.1 (%d+)"), body, head .. "\r\n"
end

local function header(head, name)
  return head:match("\n" .. name:gsub("%p", "%%%0") .. ": ([^\r]*)\r")
end

local function bearer(token) return "Authorization: Bearer " .. token end

describe("A gate in nginx", function()
  local api, web

  setup(function()
    api = server.start(API)
    web = nginx.start {
      http = HTTP, server = SERVER, workers = 2,
      init = INIT:format(KEY, api:url "/v1", ME, own.pem),
    }
  end)

  teardown(function()
    nginx.stop_all()
    server.stop_all()
  end)

  for format, token in pairs { opaque = "mt_caller", JWT = jwt() } do
    it(("lets a good token (%s) through, and says whose it is"):format(format), function()
      local status, body = asking(web, "/x", bearer(token))
      assert.equal(200, status)
      assert.equal("mch_caller", body:match "X%-Clerk%-Machine%-Id: (%S+)")
      assert.is_nil(body:lower():find "authorization")
    end)
  end

  it("takes the scheme in any letter case", function()
    assert.equal(200, (asking(web, "/x", "Authorization: bEARER   mt_caller")))
  end)

  it("forwards the token and names the header as it was made to", function()
    local status, body = asking(web, "/forwards", bearer "mt_caller", "X-Caller: mch_spoofed")
    assert.equal(200, status)
    assert.equal("mch_caller", body:match "X%-Caller: (%S+)")
    assert.equal("Bearer mt_caller", body:match "Authorization: ([^\n]+)")
    assert.is_nil(body:find "spoofed")
  end)

  it("gives scripts the token and the variable", function()
    local status, body = asking(web, "/ctx", bearer "mt_caller")
    assert.equal(200, status)
    assert.equal("mch_caller mch_caller\n", body)
  end)

  it("has the caller in the access log, and no token in any log", function()
    asking(web, "/logged", bearer "mt_caller")
    asking(web, "/logged", bearer "mt_unknown")
    local log = files.read(web.directory .. "/access")
    assert.is_truthy(log:find("/logged 200 [mch_caller]", 1, true))
    assert.is_truthy(log:find("/logged 401 []", 1, true))
    local all = log .. web:log()
    assert.is_nil(all:find("mt_", 1, true))
    assert.is_nil(all:find("eyJ", 1, true))
    assert.is_nil(all:find(KEY, 1, true))
  end)

  -- ---------------------------------------------------------------- refusals

  for what, line in pairs {
    ["no credentials"] = "X-Other: 1",
    ["another scheme"] = "Authorization: Basic Y2xlcms6Y2xlcms=",
  } do
    it(("asks a request with %s for a token, without an error"):format(what), function()
      local status, body, head = asking(web, "/x", line)
      assert.equal(401, status)
      assert.equal('Bearer realm="billing"', header(head, "WWW-Authenticate"))
      assert.equal("no-store", header(head, "Cache-Control"))
      assert.equal('{"error_description":"the request has no bearer token"}\n', body)
    end)
  end

  for what, token in pairs {
    ["that the API does not know"] = "mt_unknown",
    ["that is not one"] = "nonsense",
    ["of several words"] = "mt_caller mt_caller",
    ["that is empty"] = "",
    ["that has been changed"] = jwt():sub(1, -9) .. "AAAAAAAA",
    ["that is very long"] = ("a"):rep(6000),
    ["of odd bytes"] = 'mt_"\\\226\128\174',
  } do
    it(("refuses a token %s as invalid"):format(what), function()
      local status, body, head = asking(web, "/x", bearer(token))
      assert.equal(401, status)
      assert.is_truthy(header(head, "WWW-Authenticate")
        :find('^Bearer realm="billing", error="invalid_token", error_description="[^"\\]+"$'))
      assert.equal("invalid_token", body:match '"error":"([^"]*)"')
      assert.is_nil(#token > 10 and (body .. head):find(token, 1, true) or nil)
    end)
  end

  for path, token in pairs {
    ["/callers"] = "mt_other", ["/x"] = "mt_elsewhere", ["/authorize"] = "mt_caller",
  } do
    it(("forbids %s to %s"):format(path, token), function()
      local status, body, head = asking(web, path, bearer(token))
      assert.equal(403, status)
      assert.equal("insufficient_scope", body:match '"error":"([^"]*)"')
      assert.is_truthy(header(head, "WWW-Authenticate"):find('error="insufficient_scope"', 1, true))
    end)
  end

  it("lets through what a route's own function permits", function()
    assert.equal(200, (asking(web, "/authorize", bearer(jwt ',"may_pay":true'))))
    assert.equal(403, (asking(web, "/authorize", bearer(jwt ',"may_pay":"yes"'))))
  end)

  it("is closed when a route's own function fails", function()
    assert.equal(500, (asking(web, "/fails", bearer "mt_caller")))
    assert.equal(500, (asking(web, "/raises_table", bearer "mt_caller")))
    assert.is_truthy(web:log():find("a readable fault", 1, true))
    assert.is_nil(web:log():find("unknown reason", 1, true))
  end)

  it("answers 503 when a route's own function could not ask the API", function()
    assert.equal(503, (asking(web, "/doubts", bearer "mt_caller")))
    assert.is_truthy(web:log():find("ClerkErrors: get: l (500 e", 1, true))
  end)

  it("makes each request an error of its own", function()
    local _, body = asking(web, "/twice", "X-Other: 1")
    assert.equal("false", body)
  end)

  it("answers 400 to two Authorization headers", function()
    assert.equal(400, (asking(web, "/x", bearer "mt_caller", bearer "mt_other")))
  end)

  it("answers 503, and when to try again, when nothing can be told", function()
    local status, body, head = asking(web, "/x", bearer "mt_broken")
    assert.equal(503, status)
    assert.equal("1", header(head, "Retry-After"))
    assert.is_nil(header(head, "WWW-Authenticate"))
    assert.equal("the token cannot be verified now", body:match '"error_description":"([^"]*)"')
    assert.is_truthy(web:log():find "%[error%][^\n]*clerk%.machines%.gate")
  end)

  -- ---------------------------------------------------------------- spoofed headers

  local spellings = {
    "X-Clerk-Machine-Id: mch_spoofed", "x-clerk-machine-id: mch_spoofed",
    "X_Clerk_Machine_Id: mch_spoofed", "X-CLERK_MACHINE-ID: mch_spoofed",
  }

  for path, wanted in pairs { ["/optional"] = false, ["/open"] = false, ["/x"] = true } do
    it(("removes what clients say in the gate's header, in every spelling, at %s"):format(path),
      function()
        local status, body = asking(web, path, wanted and bearer "mt_caller" or "X-Other: 1",
          unpack(spellings))
        assert.equal(200, status)
        assert.is_nil(body:find "spoofed")
        assert.equal(wanted and "mch_caller" or nil, body:match "X%-Clerk%-Machine%-Id: (%S+)")
      end)
  end

  it("sees all headers, however many a client sends", function()
    local lines = {}
    for i = 1, 150 do lines[i] = "X-Many-" .. i .. ": 1" end
    table.insert(lines, spellings[1])
    local status, body = asking(web, "/optional", unpack(lines))
    assert.equal(200, status)
    assert.is_nil(body:find "spoofed")
    table.insert(lines, bearer "mt_unknown")
    assert.equal(401, (asking(web, "/optional", unpack(lines))))
  end)

  -- ---------------------------------------------------------------- optional

  it("lets only requests without any credentials through where a token is optional", function()
    assert.equal(200, (asking(web, "/optional")))
    assert.equal(200, (asking(web, "/optional", bearer "mt_caller")))
    assert.equal(401, (asking(web, "/optional", bearer "mt_unknown")))
    assert.equal(401, (asking(web, "/optional", "Authorization: Basic Y2xlcms6Y2xlcms=")))
    assert.equal(503, (asking(web, "/optional", bearer "mt_broken")))
  end)

  it("returns the token, or the error and a status, to scripts that answer themselves", function()
    local function verified(...) return (select(2, asking(web, "/verify", ...))) end
    assert.equal("mch_caller nil nil\n", verified(bearer "mt_caller"))
    assert.equal("nil token_unknown 401\n", verified(bearer "mt_unknown"))
    assert.is_truthy(verified(bearer "mt_broken"):find "^nil %S+ 503\n$")
    assert.equal("nil nil nil\n", verified())
  end)

  -- ---------------------------------------------------------------- auth_request

  it("answers auth_request", function()
    local status, body = asking(web, "/by_request", bearer "mt_caller", spellings[1])
    assert.equal(200, status)
    assert.equal("mch_caller", body:match "X%-Clerk%-Machine%-Id: (%S+)")
    assert.is_nil(body:find "spoofed")
    local refused, _, head = asking(web, "/by_request")
    assert.equal(401, refused)
    assert.equal('Bearer realm="billing"', header(head, "WWW-Authenticate"))
    assert.equal(403, (asking(web, "/by_request", bearer "mt_other")))
    assert.equal(500, (asking(web, "/by_request", bearer "mt_broken")))
  end)

  -- ---------------------------------------------------------------- where nginx does not ask it

  it("is not asked where `satisfy any` is satisfied already", function()
    assert.equal(200, (asking(web, "/any_address")))
  end)

  it("does not satisfy `satisfy any` by letting a request without credentials through", function()
    assert.equal(403, (asking(web, "/any_denied")))
    assert.equal(200, (asking(web, "/any_denied", bearer "mt_caller")))
    assert.equal(401, (asking(web, "/any_denied", bearer "mt_unknown")))
  end)

  it("is asked before an error_page, and not again for an open one", function()
    assert.equal(401, (asking(web, "/error_page")))
    local status, body = asking(web, "/error_page", bearer "mt_caller")
    assert.equal(200, status)
    assert.is_truthy(body:find "^open to ")
  end)

  it("is not asked in subrequests, which skip the access phase", function()
    assert.equal("reached\n", (select(2, asking(web, "/subrequest"))))
    assert.equal(401, (asking(web, "/closed_for_clients")))
  end)

  it("keeps the caller's ID through internal redirects", function()
    local status, body = asking(web, "/named", bearer "mt_caller")
    assert.equal(200, status)
    assert.equal("mch_caller", body:match "X%-Clerk%-Machine%-Id: (%S+)")
  end)

  it("says where it works when it is used elsewhere", function()
    assert.equal(500, (asking(web, "/phase", bearer "mt_caller")))
    assert.is_truthy(web:log():find "gate:check works in access_by_lua")
  end)

  it("passes the API's Retry-After on", function()
    local status, _, head = asking(web, "/x", bearer "mt_busy")
    assert.equal(503, status)
    assert.equal("7", header(head, "Retry-After"))
  end)

  it("works on after a reload", function()
    web:reload()
    assert.equal(200, (asking(web, "/x", bearer "mt_caller")))
    assert.equal(401, (asking(web, "/x")))
  end)
end)

describe("A gate where $clerk_machine_id is not declared", function()
  after_each(nginx.stop_all)

  it("lets requests through without it", function()
    local web = nginx.start {
      http = "lua_shared_dict clerk_tokens 1m;",
      init = INIT:format(KEY, "https://127.0.0.1:1", ME, own.pem),
      server = [[
        location / {
          access_by_lua_block { gate:check() }
          content_by_lua_block { ngx.print(ngx.req.get_headers()["X-Clerk-Machine-Id"]) }
        }
      ]],
    }
    local status, body = asking(web, "/x", bearer(jwt()))
    assert.same({ 200, "mch_caller" }, { status, body })
  end)
end)

describe("Making a gate", function()
  after_each(nginx.stop_all)

  local CODE = [[
    local ok, problem = pcall(require("clerk.machines.gate").new, (...))
    return tostring(problem)
  ]]

  for name, row in pairs {
    verifier = { {}, "verifier is missing" },
    ["a table instead"] = { { verifier = {} }, "verifier must be made by tokens.verifier" },
    headers = { { headers = "X-A" }, 'unknown option "headers"; did you mean "header"?' },
  } do
    it("is refused with " .. name, function()
      local problem = nginx.start():run(CODE, row[1])
      assert.is_truthy(problem:find(row[2], 1, true), problem)
    end)
  end

  it("is refused outside nginx", function()
    local ok, problem = pcall(require("clerk.machines.gate").new, {})
    assert.is_false(ok)
    assert.is_truthy(problem:find("inside nginx only", 1, true))
  end)
end)
