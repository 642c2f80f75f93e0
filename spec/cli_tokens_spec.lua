-- clerk-machines token …: over HTTP against the emulator, in a terminal of three widths and piped.
-- No output may hold a token, except with --reveal.

local core = require "clerk.machines.core"
local emulate = require "support.emulate"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"
local pty = require "support.pty"
local server = require "support.server"
local signers = require "support.signer"

local quote = process.quote

local LUA = require("support.interpreter").name
local KEY = "sk_test_emulator"
local TIME = "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ"
local DAY = 86400

local emulator, url, client, directory
local billing, gateway
local texts -- of all tokens that were minted here
local api -- a scripted server instead of the emulator

setup(function()
  emulator, url = emulate()
  client = machines.new { secret_key = KEY, base_url = url }
  directory = process.output_of("mktemp -d"):match "%S+"
end)

teardown(function()
  client:close()
  assert.equal(0, emulator:stop())
  os.execute("rm -rf " .. directory)
  process.none_left()
end)

before_each(function()
  texts = {}
  billing = client:create { name = "billing" }
  gateway = client:create { name = "gateway", scoped_machines = { billing.id } }
end)

after_each(function()
  for _, machine in ipairs(client:collect()) do client:delete(machine.id) end
  api = api and api:stop()
end)

local function assert_hidden(output)
  for _, text in ipairs(texts) do
    assert.falsy(output:find(text, 1, true), "a token was shown: " .. output)
  end
end

local INSTANCE = "CLERK_SECRET_KEY=" .. KEY

local function as(machine)
  return "CLERK_MACHINE_SECRET_KEY=" .. machine.secret_key
end

-- Without any variable of the environment but these.
local function command(arguments, variables)
  return ("env -i PATH=%s CLERK_API_URL=%s TERM=xterm %s %s bin/clerk-machines token %s"):format(
    quote(os.getenv "PATH"), url, variables or INSTANCE, LUA, arguments)
end

local function in_file(text)
  local path = directory .. "/input"
  files.write(path, text)
  return path
end

--- Runs it with a standard input, empty by default.
local function run(arguments, variables, input)
  local status, output, errors = process.run(("%s <%s"):format(command(arguments, variables),
    in_file(input or "")))
  if not arguments:find("--reveal", 1, true) then assert_hidden(output .. errors) end
  return status, output, errors
end

local function succeed(arguments, variables, input)
  local status, output, errors = run(arguments, variables, input)
  assert.equal(0, status, errors)
  assert.equal("", errors)
  return output
end

local function read_json(text)
  return assert(core.decode(text, core.result))
end

local function misused(pattern, arguments, variables, input)
  local status, output, errors = run(arguments, variables, input)
  assert.equal(2, status, errors)
  assert.equal("", output)
  assert.matches("^clerk%-machines token %l+: [^\n]+%(see clerk%-machines token %l+ %-%-help%)\n$",
    errors)
  assert.matches(pattern, errors)
end

--- A token of a machine, by the library.
local function mint(machine, params)
  local caller = machines.new { machine_secret_key = machine.secret_key, base_url = url }
  local token = caller:create_token(params)
  caller:close()
  texts[#texts + 1] = token.token
  return token
end

local function has(text, part)
  assert(text:find(part, 1, true), ("%q is missing in:\n%s"):format(part, text))
end

describe("clerk-machines token create", function()
  it("shows a new token's ID, machine, times, scopes and claims, and masks the token", function()
    local output = succeed("create --expires-in 5m --claims " .. quote '{"role": "reader"}',
      as(gateway))
    for _, pattern in ipairs {
      "^ID +mt_%x+\n", "\nMachine +" .. gateway.id .. "\n", "\nMinted +" .. TIME,
      "\nExpires +" .. TIME .. " %(in 5 min%)\n", "\nMay call +" .. billing.id .. "\n",
      "\nToken +mt_%*+ %(%-%-reveal shows it%)\n", '\nClaims\n{\n  "role": "reader"\n}\n$',
    } do
      assert.matches(pattern, output)
    end
  end)

  it("shows the token with --reveal, also as JSON", function()
    local text = succeed("create --reveal", as(gateway)):match "\nToken +(mt_%w+)\n"
    assert.equal(gateway.id, client:verify_token({ token = text }).subject)
    local token = read_json(succeed("create --reveal --json", as(gateway)))
    assert.equal(token.id, client:verify_token({ token = token.token }).id)
    assert.equal("mt_********", read_json(succeed("create --json", as(gateway))).token)
    assert.equal("********", read_json(succeed("create --json --format jwt", as(gateway))).token)
  end)

  it("returns a token that exists when --min-remaining-ttl is given", function()
    local first = read_json(succeed("create --json", as(gateway)))
    local reuse = "create --json --min-remaining-ttl 1m"
    assert.equal(first.id, read_json(succeed(reuse, as(gateway))).id)
    assert.not_equal(first.id, read_json(succeed(reuse .. " --claims 7", as(gateway))).id)
  end)

  it("sends the claims as they are, null included", function()
    for written, expected in pairs {
      ['{"a": null, "b": [1, {}]}'] = '{"a":null,"b":[1,{}]}', ["false"] = "false", ["[1]"] = "[1]",
    } do
      local id = read_json(succeed("create --json --claims " .. quote(written), as(gateway))).id
      local listed = process.output_of(("curl -sS -H 'Authorization: Bearer %s' '%s?subject=%s'")
        :format(KEY, url .. "/m2m_tokens", gateway.id))
      local of_one = listed:match('[^{]*"claims":(.-),"created_at":%d+,"expiration":%d+,"expired":'
        .. 'false,"id":"' .. id)
      assert.equal(expected, of_one)
    end
  end)

  it("needs the key of a machine, and says how to give and how to get it", function()
    misused("there is no machine's secret key: set CLERK_MACHINE_SECRET_KEY or give "
      .. "%-%-machine%-secret%-key%-file; `clerk%-machines secret <machine>` shows", "create")
    local path = directory .. "/key"
    files.write(path, gateway.secret_key .. "\n")
    succeed("create --machine-secret-key-file " .. path)
    local status, _, errors = run("create", "CLERK_MACHINE_SECRET_KEY=ak_made_up")
    assert.equal(1, status)
    assert.matches("^clerk%-machines token create: .*%(401 .*\nIs it the secret key of ", errors)
    assert.falsy(errors:find("ak_made_up", 1, true))
  end)

  it("refuses options that do not fit, by their names", function()
    for arguments, pattern in pairs {
      ["--expires-in 0"] = "%-%-expires%-in must be a time of at least 1 s, .*, not '0'",
      ["--expires-in soon"] = "%-%-expires%-in must be a time of at least 1 s, .*, not 'soon'",
      ["--min-remaining-ttl -1"] = "%-%-min%-remaining%-ttl must be .* of at least 0 s, .*'%-1'",
      ["--claims {role}"] = "%-%-claims must be JSON, such as .*: .* at byte 1",
      ["--format pem"] = "token_format must be",
    } do
      misused(pattern, "create " .. arguments, as(gateway))
    end
  end)
end)

describe("clerk-machines token verify", function()
  local function verdict(input, arguments, variables)
    local status, output, errors = run("verify --json " .. (arguments or ""), variables, input)
    assert.equal("", errors)
    local found = read_json(output)
    assert.equal(found.verdict == "valid" and 0 or 1, status)
    return found, output
  end

  it("says that a token is valid, what it says, and exits with 0", function()
    local opaque = mint(gateway, { claims = { role = "reader" } }).token
    local output = succeed("verify", INSTANCE, "  " .. opaque .. " \r\nmore")
    has(output, "valid: an opaque token that the API knows")
    for _, part in ipairs { gateway.id, billing.id, '"role": "reader"', "not checked" } do
      has(output, part)
    end
    local jwt = mint(gateway, { claims = { role = "reader" }, token_format = "jwt" }).token
    output = succeed("verify", INSTANCE, jwt)
    has(output, "valid: a JWT that the instance's key has signed")
    has(output, '"role": "reader"')
    assert.equal(gateway.id, verdict(jwt).verified.subject)
  end)

  it("shows an empty object in the claims as one, with --json", function()
    for _, format in ipairs { "opaque", "jwt" } do
      local claims = { role = setmetatable({}, core.result) }
      local _, output = verdict(mint(gateway, { claims = claims, token_format = format }).token)
      has(output, '"role": {}')
    end
  end)

  it("takes an opaque token with a machine's key, if the token is for that machine", function()
    local opaque = mint(gateway).token
    assert.equal("valid", verdict(opaque, "", as(billing)).verdict)
    assert.equal("token_unknown", verdict(opaque, "", as(gateway)).code)
  end)

  it("checks with --machine whether the machine may be called", function()
    for _, format in ipairs { "opaque", "jwt" } do
      local text = mint(gateway, { token_format = format }).token
      local output = succeed("verify --machine billing", INSTANCE, text)
      has(output, "billing, which its machine may call")
      assert.equal("valid", verdict(text, "--machine " .. billing.id).verdict)
      assert.equal("token_not_granted", verdict(text, "--machine gateway").code)
    end
  end)

  it("explains each refusal: why, and what it may mean", function()
    local signer = signers.new()
    local jwks = ('{"keys":[{"kty":"RSA","kid":"ins_1","n":"%s","e":"%s"}]}'):format(signer.n,
      signer.e)
    api = server.start([[
      for request in connection:requests() do
        local is_jwks = request.target:find "/jwks$"
        connection:answer(200, is_jwks and values.jwks or values.expired)
      end
    ]], { values = { jwks = jwks, expired = ('{"object":"machine_to_machine_token",'
      .. '"id":"mt_1","subject":"%s","scopes":[],"revoked":false,"expired":true}')
      :format(gateway.id) } })
    local header = '{"alg":"RS256","kid":"ins_1"}'
    local now = os.time()
    local function payload(more)
      return ('{"sub":"%s","exp":%d%s}'):format(gateway.id, now + DAY, more or "")
    end
    local good = signer:jwt(header, payload())
    local revoked = mint(gateway)
    client:revoke_token(revoked.id)

    local own = "--base-url " .. api:url "/v1"
    for _, case in ipairs {
      { "token_malformed", "made up" },
      { "token_type_refused", signer:jwt('{"alg":"RS256","cat":"cl_B7d4PD111AAA"}', payload()) },
      { "token_algorithm_refused", signer:jwt('{"alg":"HS256"}', payload()) },
      { "token_key_unknown", signer:jwt('{"alg":"RS256","kid":"ins_2"}', payload()) },
      { "token_signature_invalid", (good:gsub("[^.]*$", signer:signature "other")) },
      { "token_expired", signer:jwt(header, ('{"sub":"%s","exp":1}'):format(gateway.id)) },
      { "token_expired", "mt_old" },
      { "token_not_active", signer:jwt(header, payload(',"nbf":' .. now + DAY / 2)) },
      { "token_revoked", revoked.token, "" },
      { "token_unknown", "mt_made_up", "" },
      { "token_not_granted", mint(gateway).token, "--machine gateway" },
    } do
      local code, text, arguments = case[1], case[2], case[3] or own
      texts[#texts + 1] = text
      local found = verdict(text, arguments)
      assert.equal("refused", found.verdict)
      assert.equal(code, found.code)
      local _, output = run("verify " .. arguments, INSTANCE, text)
      has(output, ("refused (%s)\nReason     %s\nMeaning    %s"):format(code, found.reason,
        found.meaning))
      assert.matches("%.$", found.meaning)
    end
    assert.equal("valid", verdict(good, own).verdict)
  end)

  it("shows what a refused JWT says, for reading, as not verified", function()
    local jwt = mint(gateway, { claims = { role = "reader" }, token_format = "jwt" }).token
    local forged = jwt:gsub("[^.]*$", "AAAA")
    local status, output = run("verify", INSTANCE, forged)
    assert.equal(1, status)
    local verified, rest = output:match "^(.*\n)\nNot verified, only for reading:\n(.*)$"
    assert.falsy(verified:find("reader", 1, true))
    has(rest, '"role": "reader"')
    assert.matches("\nExpires +" .. TIME .. " %(in 1 h%)\n", "\n" .. rest)
    local found = verdict(forged)
    assert.same({ "RS256", gateway.id },
      { found.unverified.header.alg, found.unverified.payload.sub })
    assert.is_nil(found.verified)
    for _, text in ipairs { "a.b.c", "e30.e30.", "e30.W10.e30", "e30.bnVsbA.x", "mt_a.b.c" } do
      assert.equal("refused", verdict(text).verdict)
    end
  end)

  it("says that the token could not be verified when the API does not answer", function()
    local opaque, jwt = mint(gateway).token, mint(gateway, { token_format = "jwt" }).token
    local publishable = "--publishable-key pk_test_Y2xlcmsuaW52YWxpZCQ" -- clerk.invalid
    for _, case in ipairs {
      { opaque, "--base-url http://127.0.0.1:1", INSTANCE, "connect_failed" },
      { jwt, "--base-url http://127.0.0.1:1", INSTANCE, "connect_failed" },
      { opaque, "", "CLERK_SECRET_KEY=sk_test_other", "clerk_key_invalid" },
      { jwt, publishable, "UNUSED=1", "dns_failed" },
    } do
      local status, output = run("verify --json " .. case[2], case[3], case[1])
      assert.equal(1, status)
      local found = read_json(output)
      assert.same({ "unknown", case[4] }, { found.verdict, found.code })
      has(found.meaning, "nothing about the token")
      status, output = run("verify " .. case[2], case[3], case[1])
      assert.equal(1, status)
      has(output, ("could not be verified (%s)"):format(case[4]))
    end
  end)

  it("says which key is missing, for each kind of token", function()
    local opaque, jwt = mint(gateway).token, mint(gateway, { token_format = "jwt" }).token
    misused("set CLERK_MACHINE_SECRET_KEY or give %-%-machine%-secret%-key%-file, or set "
      .. "CLERK_SECRET_KEY or give %-%-secret%-key%-file", "verify", "UNUSED=1", opaque)
    misused("set CLERK_SECRET_KEY or give %-%-secret%-key%-file, or give %-%-publishable%-key",
      "verify", as(billing), jwt)
    misused("'billing' is not an ID .* cannot be found by their names", "verify --machine billing",
      as(billing), opaque)
    misused("name of a host", "verify --publishable-key pk_test_", INSTANCE, jwt)
    misused("publishable_key is of a live instance",
      "verify --publishable-key pk_live_Y2xlcmsuaW52YWxpZCQ", INSTANCE, jwt)
  end)

  it("takes no token as an argument, and needs one on standard input", function()
    misused("too many arguments", "verify mt_1")
    misused("there is no token on standard input", "verify", INSTANCE, " \n")
    misused("there is no token on standard input", "verify <&-", INSTANCE)
  end)

  it("asks at a terminal, without showing what is typed", function()
    local text = mint(gateway).token
    local screen = pty.start(command "verify")
    screen:await "Token: "
    screen:type(text .. "\n")
    local status, shown = screen:finish()
    assert.equal(0, status)
    has(shown, gateway.id)
    assert_hidden(shown)
  end)

  it("leaves the terminal as it was after ^C", function()
    local screen = pty.start("sh -c " .. quote("trap : INT; " .. command "verify"
      .. "; echo status $?; stty -a"))
    screen:await "Token: "
    screen:type "mt_secret\3"
    local _, shown = screen:finish()
    assert.matches("\nstatus 130\n.* echo ", shown)
    assert.falsy(shown:find("mt_secret", 1, true))
  end)
end)

describe("clerk-machines token list", function()
  it("lists the tokens that are valid, newest first, and others when asked to", function()
    local first, second, third = mint(gateway), mint(gateway, { seconds_until_expiration = 0.001 }),
      mint(gateway)
    client:revoke_token(third.id, { revocation_reason = "lost laptop" })
    client:verify_token { token = first.token }
    local line = ("%s\t%s\t%s\t%s\t"):format(first.id, TIME, TIME, TIME)
    assert.matches("^" .. line .. "valid\n$", (succeed "list gateway"))
    local all = succeed("list --revoked --expired " .. gateway.id)
    assert.matches(("^%s\t[^\n]+\trevoked: lost laptop\n%s\t[^\n]+\t%%-\texpired\n%s"):format(
      third.id, second.id, line), all)
    assert.matches("^" .. line .. "valid\n$", (succeed("list " .. gateway.id, as(gateway))))
  end)

  it("asks for page after page, up to --limit, and lists each token once", function()
    local caller = machines.new { machine_secret_key = gateway.secret_key, base_url = url }
    for _ = 1, 203 do caller:create_token() end
    caller:close()
    local seen, count = {}, 0
    for id in (succeed "list gateway"):gmatch "(mt_%x+)\t" do
      assert.is_nil(seen[id])
      seen[id], count = true, count + 1
    end
    assert.equal(203, count)
    assert.equal(150, select(2, (succeed "list gateway --limit 150"):gsub("\n", "")))
    local list = read_json(succeed "list gateway --limit 101 --json")
    assert.same({ 101, 203 }, { #list.m2m_tokens, list.total_count })
  end)

  it("prints JSON when there is none, too, and says so on a terminal", function()
    assert.equal('{\n  "m2m_tokens": [],\n  "total_count": 0\n}\n', succeed "list gateway --json")
    assert.equal("", succeed "list gateway")
    local status, shown = pty.start(command "list gateway"):finish()
    assert.same({ 0, "There are no such tokens.\n" }, { status, pty.visible(shown) })
  end)

  it("goes on after tokens that were minted meanwhile", function()
    api = server.start [[
      for request in connection:requests() do
        shared.asked = (shared.asked or 0) + 1
        local rows = { { 4, 3 }, { 3, 2 }, { 1 }, {} }
        for i, row in ipairs(rows[shared.asked]) do
          rows[shared.asked][i] = ('{"id":"mt_%d","revoked":false,"expired":false}'):format(row)
        end
        connection:answer(200, ('{"m2m_tokens":[%s]}'):format(
          table.concat(rows[shared.asked], ",")))
      end
    ]]
    local output = succeed("list mch_1 --base-url " .. api:url "/v1")
    assert.equal("mt_4 mt_3 mt_2 mt_1 ", (output:gsub("\t[^\n]*\n", " ")))
  end)
end)

describe("clerk-machines token revoke", function()
  it("revokes tokens by their IDs, with a reason", function()
    local first, second = mint(gateway), mint(gateway)
    local output = succeed(("revoke %s %s --reason lost --yes"):format(first.id, second.id))
    assert.equal(("Revoked %s.\nRevoked %s.\n"):format(first.id, second.id), output)
    local verified = client:verify_token { token = first.token }
    assert.same({ true, "lost" }, { verified.revoked, verified.revocation_reason })
    local third = mint(gateway)
    local revoked = read_json(succeed("revoke --json --yes " .. third.id, as(gateway)))
    assert.same({ third.id, true }, { revoked.id, revoked.revoked })
  end)

  it("prints those that were revoked before one could not be, with --json too", function()
    local good = mint(gateway)
    local status, output = run(("revoke %s mt_%s --yes --json"):format(good.id, ("0"):rep(32)))
    assert.equal(1, status)
    local list = read_json(output)
    assert.same({ 1, good.id }, { list.total_count, list.data[1].id })
  end)

  it("asks first, and shows the instance", function()
    local token = mint(gateway)
    for key, answer in pairs { [INSTANCE] = "n\n", [as(gateway)] = "y\n" } do
      local screen = pty.start(command("revoke " .. token.id, key))
      screen:await "[y/N] "
      screen:type(answer)
      local status, shown = screen:finish()
      has(shown, ("Revoke token %s?"):format(token.id))
      assert.equal(answer == "y\n" and 0 or 1, status)
      has(shown, key == INSTANCE and gateway.instance_id .. " (test)" or "only a machine's key")
    end
    assert.is_true(client:verify_token({ token = token.token }).revoked)
    misused("give %-%-yes", "revoke " .. token.id)
  end)

  it("says which were not revoked when one fails", function()
    local first, last = mint(gateway), mint(gateway)
    local missing = "mt_" .. ("0"):rep(32)
    local status, output, errors = run(("revoke --yes %s %s %s"):format(first.id, missing, last.id))
    assert.equal(1, status)
    assert.equal(("Revoked %s.\n"):format(first.id), output)
    assert.matches(("^1 of 3 tokens were revoked%%. These were not: %s %s\nclerk%%-machines token "
      .. "revoke: .*404 "):format(missing, last.id), errors)
  end)
end)

describe("clerk-machines whoami", function()
  local function whoami(variables)
    local program = command("", variables):gsub(" token $", " whoami")
    local status, output = process.run(program)
    return output, status
  end

  it("shows and tries both keys", function()
    local output, status = whoami(INSTANCE .. " " .. as(gateway))
    assert.equal(0, status)
    has(output, "\nKey         an instance's secret key ($CLERK_SECRET_KEY)\n"
      .. "Key         a machine's secret key ($CLERK_MACHINE_SECRET_KEY)\n")
    assert.matches("\nReachable   yes, in %d+ ms\n", output)
    output, status = whoami(as(gateway))
    assert.equal(0, status)
    assert.matches("^Instance    unknown, since there is only a machine's key\nKey +a machine's",
      output)
    output, status = whoami(INSTANCE .. " CLERK_MACHINE_SECRET_KEY=ak_made_up")
    assert.equal(1, status)
    assert.matches("\nReachable   yes, but: the machine's key: .*401 ", output)
    has(whoami("CLERK_MACHINE_SECRET_KEY=" .. KEY),
      "an instance's secret key: a machine's is needed")
  end)
end)

describe("The output", function()
  local function widest(text)
    local width = 0
    for line in text:gsub("{.*}", ""):gmatch "[^\n]+" do -- JSON is as it is
      width = math.max(width, select(2, line:gsub("[^\128-\191]", "")))
    end
    return width
  end

  local function on_terminal(arguments, variables, columns, keys)
    local screen = pty.start(command(arguments, variables), { columns = columns })
    if keys then
      screen:await(keys:find "^n" and "[y/N] " or "Token: ")
      screen:type(keys)
    end
    local _, shown = screen:finish()
    assert_hidden(shown)
    return pty.visible(shown)
  end

  for _, columns in ipairs { 40, 80, 200 } do
    it(("fits %d columns without a broken ID"):format(columns), function()
      local token = mint(gateway)
      client:revoke_token(mint(gateway).id, { revocation_reason = ("long reason "):rep(20) })
      local jwt = mint(gateway, { token_format = "jwt" }).token
      for _, case in ipairs {
        { "create", as(gateway) },
        { "verify", INSTANCE, token.token .. "\n" },
        { "verify", INSTANCE, "made up\n" },
        { "verify --machine gateway", INSTANCE, jwt .. "\n" },
        { "list gateway --revoked", INSTANCE },
        { "revoke " .. token.id, INSTANCE, "n\n" },
      } do
        local shown = on_terminal(case[1], case[2], columns, case[3])
        assert.is_true(widest(shown) <= columns + #"n", case[1] .. "\n" .. shown)
        if case[1]:find "^list" then has(shown, token.id) end
      end
    end)
  end

  it("shows when each token ends and what became of it, as far as there is room", function()
    local token = mint(gateway)
    client:revoke_token(mint(gateway).id, { revocation_reason = "the laptop was lost" })
    local function list(columns)
      return on_terminal("list gateway --revoked", INSTANCE, columns)
    end
    assert.matches("^ID +MINTED +EXPIRES +USED +STATE\n", list(200))
    assert.matches("  in 1 h +%-  +revoked: the laptop was lost\n" .. token.id, list(200))
    assert.matches("^ID +MINTED +EXPIRES +STATE\n", list(80))
    assert.matches(token.id .. "\n  valid\n$", list(40))
  end)
end)
