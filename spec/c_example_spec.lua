-- The C examples: compiled as their headers say, and run, get_machine against the emulator.

local emulate = require "support.emulate"
local files = require "support.files"
local process = require "support.process"
local vectors = require "support.token_vectors"

local STRICT = "-std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
local VALGRIND = "valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=all"
local UNKNOWN = "mch_000000000000000000000000000"

-- As if a user typed it: without what the sanitizers' runs preload.
local function run(command)
  return process.run("unset LD_PRELOAD; " .. command)
end

-- The command in the example's own header, made strict, with the program in a place of ours.
local function compile(name, program)
  local source = files.read(("examples/%s.c"):format(name))
  local lines = source:match("the checkout:\n%*%*\n%*%*   (cc .-)\n%*%*   %S")
  local command = lines:gsub("\n%*%* ", "\n")
    :gsub("^cc ", "cc " .. STRICT .. " ")
    :gsub("%-o " .. name, "-o " .. program)
  return run(command)
end

describe("examples/get_machine.c", function()
  local directory, program, compiled, server, url, machine_id

  local function post(address, body)
    local status, answer, problem = run(
      "curl -sS --fail -H 'Authorization: Bearer sk_test_emulator' "
        .. "-H 'Content-Type: application/json' -d " .. process.quote(body) .. " " .. address)
    assert(status == 0, problem)
    return answer
  end

  local function fault(body)
    post(url:gsub("/v1$", "/emulator/faults"), body)
  end

  setup(function()
    local status, output = process.run("mktemp -d")
    assert.equal(0, status)
    directory = output:match("%S+")
    program = directory .. "/get_machine"
    compiled = { compile("get_machine", program) }
    server, url = emulate()
    machine_id = post(url .. "/machines", '{"name":"worker"}'):match('"id":"(mch_[^"]+)"')
  end)

  teardown(function()
    assert.equal(0, server:stop())
    os.execute("rm -r " .. directory)
    process.none_left()
  end)

  local function get(id, environment, runner)
    return run(("env CLERK_SECRET_KEY=sk_test_emulator CLERK_API_URL=%s %s %s %s %s")
      :format(url, environment or "", runner or "", program, process.quote(id)))
  end

  it("compiles by the command in its header, without a warning", function()
    assert.same({ 0, "", "" }, compiled)
  end)

  it("prints the machine's ID and name", function()
    local status, output, errors = get(machine_id)
    assert.same({ 0, machine_id .. " worker\n", "" }, { status, output, errors })
  end)

  it("prints the API's error", function()
    local status, output, errors = get(UNKNOWN)
    assert.same({ 1, "" }, { status, output })
    assert.equal("get_machine: 404 machine_not_found: Machine not found\n", errors)
  end)

  it("retries after a 503, waiting as long as Retry-After asks", function()
    fault '{"operation":"get","status":503,"retry_after":1}'
    local status, output, errors = get(machine_id)
    assert.same({ 0, machine_id .. " worker\n" }, { status, output })
    assert.matches("^get_machine: 503 .-\nget_machine: trying again in 1000 ms\n$", errors)
  end)

  it("retries after a lost connection", function()
    fault '{"operation":"get","drop":true}'
    local status, output, errors = get(machine_id)
    assert.same({ 0, machine_id .. " worker\n" }, { status, output })
    assert.matches("^get_machine: connection_lost: .-\nget_machine: trying again in %d+ ms\n$",
      errors)
  end)

  it("reports a response that is not the API's", function()
    fault '{"operation":"get","status":200,"body":"<html>","content_type":"text/html"}'
    local status, output, errors = get(machine_id)
    assert.same({ 1, "", "get_machine: 200 invalid_json\n" }, { status, output, errors })
  end)

  it("refuses a bad ID before it sends anything", function()
    local status, output, errors = get("..", "CLERK_API_URL=http://127.0.0.1:1")
    assert.same({ 2, "" }, { status, output })
    assert.equal("get_machine: machine_id must be a machine ID, not a path\n", errors)
  end)

  it("refuses a base URL that would show the key", function()
    local status, _, errors = get(machine_id, "CLERK_API_URL=http://api.clerk.com/v1")
    assert.equal(2, status)
    assert.matches("^get_machine: base_url must be https", errors)
  end)

  it("accepts a host's root as the API's address, like all of Clerk's tools", function()
    local root = url:match "^(.*)/v1$"
    for _, address in ipairs { root, root .. "/", url .. "/" } do
      local status, output = get(machine_id, "CLERK_API_URL=" .. address)
      assert.same({ 0, machine_id .. " worker\n" }, { status, output })
    end
  end)

  it("asks for a key, and for an ID", function()
    local status, _, errors
    for _, variable in ipairs { "-u CLERK_SECRET_KEY", "CLERK_SECRET_KEY=" } do
      status, _, errors = run(("env %s %s mch_1"):format(variable, program))
      assert.same({ 2, "get_machine: CLERK_SECRET_KEY is not set\n" }, { status, errors })
    end
    status, _, errors = run("env CLERK_SECRET_KEY=k " .. program)
    assert.same({ 2, "get_machine: usage: get_machine MACHINE_ID\n" }, { status, errors })
  end)

  it("leaks nothing and reads no invalid memory", function()
    fault '{"operation":"get","status":503,"retry_after":0,"body":""}'
    assert.equal(0, (get(machine_id, nil, VALGRIND)))
    assert.equal(1, (get(UNKNOWN, nil, VALGRIND)))
    assert.equal(2, (get("..", nil, VALGRIND)))
  end)
end)

describe("examples/verify_token.c", function()
  local SUBJECT = "mch_2xhFjEI5X2qWRvtV13BzSj8H6Dk"
  local TOKEN = vectors.signed .. "." .. vectors.signature
  local program, key_file, compiled

  setup(function()
    program = os.tmpname()
    key_file = files.write_temporary(vectors.pem)
    compiled = { compile("verify_token", program) }
  end)

  teardown(function()
    os.remove(program)
    files.remove_temporary()
  end)

  local function verify(token, callers, path)
    return run(("%s %s %s <%s"):format(program, path or key_file, callers or SUBJECT,
      files.write_temporary(token)))
  end

  it("compiles by the command in its header, without a warning", function()
    assert.same({ 0, "", "" }, compiled)
  end)

  it("lets a machine in that may call", function()
    assert.same({ 0, SUBJECT .. "\n", "" }, { verify(TOKEN .. "\n") })
    assert.same({ 0, SUBJECT .. "\n", "" }, { verify(TOKEN, "mch_other " .. SUBJECT) })
  end)

  for code, change in pairs {
    token_malformed = function() return TOKEN .. "\n\n" end,
    token_signature_invalid = function()
      return vectors.signed .. "." .. vectors.others["PSS padding"]
    end,
    token_algorithm_refused = function() return (TOKEN:gsub("^[^.]+", "e30")) end,
    token_not_granted = function() return TOKEN, "mch_other" end,
  } do
    it("refuses others: " .. code, function()
      local status, output, errors = verify(change())
      assert.same({ 1, "" }, { status, output })
      assert.matches("^verify_token: " .. code .. ": .+\n$", errors)
    end)
  end

  it("says what is wrong with how it is used", function()
    local status, _, errors = verify(TOKEN, "")
    assert.equal(2, status)
    assert.matches("^verify_token: usage: ", errors)
    status, _, errors = verify(TOKEN, SUBJECT, "/nowhere.pem")
    assert.same({ 2, "verify_token: the key's file cannot be read\n" }, { status, errors })
    status, _, errors = verify(TOKEN, SUBJECT, "/dev/null")
    assert.equal(2, status)
    assert.matches("^verify_token: the key must be the PEM text", errors)
  end)

  it("leaks nothing and reads no invalid memory", function()
    local checked = program
    program = VALGRIND .. " " .. program
    assert.equal(0, (verify(TOKEN)))
    assert.equal(1, (verify(TOKEN .. "A")))
    assert.equal(2, (verify(TOKEN, SUBJECT, "/dev/null")))
    program = checked
  end)
end)
