-- What the documents tell is what the code does.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local machines = require "clerk.machines"
local options = require "clerk.machines.options"
local process = require "support.process"
local pty = require "support.pty"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local readme = read "README.md"

local function has(text, part)
  assert(text:find(part, 1, true), ("%q is missing"):format(part))
end

--- The row of a table that begins with this cell, dagger or not.
local function row_of(text, cell)
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, #cell + 2) == "| " .. cell then
      return line
    end
  end
  error("no row for " .. cell)
end

local function section(title)
  return assert(readme:match("\n## " .. title .. "\n(.-)\n## "), title)
end

describe("The README's operations", function()
  local text = section "Operations"

  local function signature(operation)
    local arguments, others = {}, false
    for _, parameter in ipairs(operation.parameters) do
      if parameter.place == "path" then
        arguments[#arguments + 1] = parameter.name
      else
        others = true
      end
    end
    if operation.name == "list" then
      return "client:list([params [, options]])"
    end
    if others then
      arguments[#arguments + 1] = "params"
    end
    return ("client:%s(%s [, options])"):format(operation.name, table.concat(arguments, ", "))
  end

  local function check_bounds(row, parameter)
    if parameter.type == "machine_ids" then
      has(row, ("at most %d machine IDs"):format(parameter.max))
    elseif parameter.max then
      has(row, ("%d … %d"):format(parameter.min, parameter.max))
    elseif parameter.min then
      has(row, ("≥ %d"):format(parameter.min))
    end
  end

  for _, operation in ipairs(core.operations) do
    it("tell the method, path, parameters and bounds of " .. operation.name, function()
      local row = row_of(text, "`" .. signature(operation) .. "`")
      has(row, ("| %s %s |"):format(operation.method, operation.path))
      for _, parameter in ipairs(operation.parameters) do
        if parameter.place ~= "path" then
          has(row, "`" .. parameter.name .. "`")
          check_bounds(row, parameter)
        end
      end
    end)
  end

  it("are as many as there are", function()
    local _, rows = text:gsub("\n| `client:", "")
    assert.equal(#core.operations, rows)
  end)
end)

describe("The README's options", function()
  local text = section "Options"

  for name, per_call in pairs(options.names) do
    it("have a row for " .. name, function()
      row_of(text, ("`%s`%s |"):format(name, per_call and " †" or ""))
    end)
  end

  it("name none that is refused", function()
    for name in text:gmatch "\n| `([%w_]+)`" do
      assert(options.names[name] ~= nil, name)
    end
  end)
end)

describe("The README's errors", function()
  local text = section "Errors"

  it("name every code that is the library's own", function()
    for _, code in ipairs { "invalid_json", "unexpected_shape", "unexpected_status",
      "redirect_refused", "dns_failed", "connect_failed", "connection_lost", "timeout",
      "tls_failed", "response_too_large", "bad_response", "cancelled", "invalid_argument" } do
      has(text, "`" .. code .. "`")
    end
  end)

  it("name every field that an error is seen to have", function()
    local api = emulator.new()
    local client = machines.new { secret_key = "sk_test_emulator", transport = api }
    api:fault { operation = "update", status = 503, times = 9, retry_after = 100 }
    local _, refused = pcall(client.update, client, "mch_x", { name = "a" })
    local _, mistaken = pcall(client.get, client)
    for _, err in ipairs { refused, mistaken } do
      for field in pairs(err) do
        has(text, "`" .. field .. "`")
      end
    end
  end)
end)

describe("The README's programs", function()
  local function load_with(source, name, environment)
    setmetatable(environment, { __index = _G })
    if not rawget(_G, "setfenv") then
      return assert(load(source, name, "t", environment))
    end
    return setfenv(assert(loadstring(source, name)), environment) -- luacheck: ignore
  end

  local server, url
  setup(function()
    server = process.start "bin/clerk-machines emulate"
    url = assert(server:read_line()):match "^listening on (.*)$"
  end)
  teardown(function()
    assert.equal(0, server:stop())
    process.none_left()
  end)

  local function quietly(...)
    assert(select("#", ...) > 0)
  end

  local count = 0
  for block in readme:gmatch "\n```lua\n(.-)```" do
    count = count + 1
    local name = ("README.md, program %d"):format(count)
    if block:find "^[%w_]+ = " then
      it("work: options, program " .. count, function()
        local given = load_with("return {" .. block .. "}", name, { io = { stderr = {
          write = function(_, line) assert.is_string(line) end,
        } } })()
        given.secret_key, given.transport = "sk_test_emulator", emulator.new()
        assert.equal(0, machines.new(given):list().total_count)
      end)
    elseif block:find "^local transport" then
      it("work: a transport, program " .. count, function()
        local transport = load_with(block .. "\nreturn transport", name, {})()
        local client = machines.new { secret_key = "sk_test", transport = transport }
        assert.equal("a", client:get("mch_1").name)
        client:close()
      end)
    else
      it("work: program " .. count, function()
        load_with(block, name, { arg = { url }, print = quietly })()
      end)
    end
  end

  it("are all found", function()
    assert.equal(7, count)
  end)
end)

describe("The README's session of the command", function()
  local text = section "The command line"
  local ID = "mch_%w+"

  --- Without what differs each time, but for IDs.
  local function settled(shown)
    return (shown:gsub("%d+ s +", "N s "):gsub("%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ", "TIME")
      :gsub("ins_%w+", "INSTANCE"):gsub("ak_%w+", "KEY"):gsub("trace %x+", "trace"))
  end

  --- Each command with what the README says it shows.
  local function steps()
    local found = {}
    for line in text:gmatch "\n    ([^\n]*)" do
      if line:find "^%$ " then
        found[#found + 1] = { command = line:sub(3), shown = "" }
      else
        found[#found].shown = found[#found].shown .. line .. "\n"
      end
    end
    return found
  end

  local server, url
  setup(function()
    server = process.start "bin/clerk-machines emulate"
    url = assert(server:read_line()):match "^listening on (.*)$"
  end)
  teardown(function()
    assert.equal(0, server:stop())
    process.none_left()
  end)

  local function run(command, answer)
    local environment = ('env PATH="$PWD/bin:$PATH" CLERK_API_URL=%s CLERK_SECRET_KEY=%s '):format(
      url, "sk_test_emulator")
    local screen = pty.start(environment .. "sh -c " .. process.quote(command))
    if answer then
      screen:await "[y/N] "
      screen:type(answer)
    end
    local _, shown = screen:finish()
    return pty.visible(shown)
  end

  it("is what a terminal shows", function()
    local real = {}
    for _, step in ipairs(steps()) do
      local shown = run(step.command:gsub(ID, real), step.shown:find "%[y/N%] y\n" and "y\n")
      local next_real = shown:gmatch(ID)
      for id in step.shown:gmatch(ID) do
        real[id] = real[id] or next_real()
      end
      assert.equal(settled(step.shown:gsub(ID, real)), settled(shown))
    end
    assert.is_true(#steps() >= 9)
  end)
end)

describe("The version", function()
  it("is the one that the changes end with", function()
    has(read "CHANGELOG.md", "\n## " .. machines.version .. " ")
  end)

  it("is what the build, the command and the wire tell", function()
    has(read "CMakeLists.txt", "VERSION " .. machines.version .. " ")
    local _, output = process.run "bin/clerk-machines --version"
    assert.equal("clerk-machines " .. machines.version .. "\n", output)
  end)

  it("is nowhere else", function()
    local command = "grep -rnF %s src lua bin examples README.md *.rockspec"
    local _, output = process.run(command:format(machines.version))
    assert.equal("", output)
  end)
end)
