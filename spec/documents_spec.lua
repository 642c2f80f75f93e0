-- What the documents tell is what the code does.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local files = require "support.files"
local machines = require "clerk.machines"
local option_groups = require "support.option_groups"
local options = require "clerk.machines.options"
local process = require "support.process"
local pty = require "support.pty"

local read, run = files.read, process.output_of
local readme = read "README.md"

local is_luajit = rawget(_G, "jit") ~= nil
local LUA = is_luajit and "luajit" or "lua5.4"

--- The README's snippets, each with its chapter and its kind, which is "" when it is indented.
local snippets = {}
do
  local chapter, snippet = "", nil
  local function add(kind)
    snippet = { chapter = chapter, kind = kind, text = "" }
    snippets[#snippets + 1] = snippet
  end
  for line in readme:gmatch "([^\n]*)\n" do
    local fence = line:match "^```(%l*)$"
    if snippet and snippet.kind ~= "" then
      if fence then snippet = nil else snippet.text = snippet.text .. line .. "\n" end
    elseif fence then
      add(fence)
    elseif line:find "^    " then
      if not snippet then add "" end
      snippet.text = snippet.text .. line:sub(5) .. "\n"
    else
      snippet = nil
      chapter = line:match "^###? (.*)$" or chapter
    end
  end
end

--- The snippet of a chapter that begins with this.
local function snippet_of(chapter, beginning)
  for _, snippet in ipairs(snippets) do
    if snippet.chapter == chapter and snippet.text:sub(1, #beginning) == beginning then
      return snippet.text
    end
  end
  error(("no snippet %q in %q"):format(beginning, chapter))
end

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

--- Without what differs each time, but for machines' IDs.
local function settled(shown)
  return (shown:gsub("%d+ s +", "N s "):gsub("%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ", "TIME")
    :gsub("ins_%w+", "INSTANCE"):gsub("ak_%w+", "KEY"):gsub("trace %x+", "trace")
    :gsub("127%.0%.0%.1:%d+", "ADDRESS"):gsub("/tmp/[%w_]+", "FILE"))
end

--- The names in backquotes.
local function named(text)
  local list = {}
  for name in text:gmatch "`([%w_]+)`" do list[#list + 1] = name end
  return list
end

local function sorted(list)
  local copy = {}
  for i, value in ipairs(list) do copy[i] = value end
  table.sort(copy)
  return copy
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

local function load_with(source, name, environment)
  setmetatable(environment, { __index = _G })
  if not rawget(_G, "setfenv") then
    return assert(load(source, name, "t", environment))
  end
  return setfenv(assert(loadstring(source, name)), environment) -- luacheck: ignore
end

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

  it("show the members of retries, with their defaults", function()
    local source = "return {" .. snippet_of("Retries", "retries = {") .. "}"
    local shown = load_with(source, "retries", {})()
    assert.same(options.for_client({ secret_key = "sk_test" }).retries, shown.retries)
    local groups = { retries = shown.retries, backoff = shown.retries.backoff }
    for group, members in pairs(option_groups) do
      local names = {}
      for name in pairs(assert(groups[group], group)) do names[#names + 1] = name end
      assert.same(members, sorted(names))
    end
  end)
end)

describe("The README's errors", function()
  local text = section "Errors"

  local function codes(error_type)
    return sorted(named(row_of(text, ("`%s` |"):format(error_type)):match "^|[^|]*|[^|]*(|.*)$"))
  end

  local function names_of(rows)
    local list = {}
    for i, row in ipairs(rows) do list[i] = row.name end
    return sorted(list)
  end

  it("name every code that is the library's own", function()
    assert.same(names_of(core.failures), codes "TransportError")
    assert.same(names_of(core.judgements), codes "SDKError")
    local _, err = pcall(machines.new, 1)
    assert.same({ err.code }, codes(err.type))
  end)

  it("look as they do", function()
    local client = machines.new { secret_key = "sk_test_emulator", transport = emulator.new() }
    local _, err = pcall(client.get, client, "mch_x")
    assert.equal(settled(snippet_of("Errors", "ClerkErrors: get")), settled(tostring(err) .. "\n"))
  end)
end)

describe("The README's programs", function()
  local server, url
  setup(function()
    server = process.start "bin/clerk-machines emulate"
    url = assert(server:read_line()):match "^listening on (.*)$"
  end)
  teardown(function()
    assert.equal(0, server:stop())
    process.none_left()
  end)

  --- A `print` that keeps what it would show, and checks that this is what a program tells.
  local function printer()
    local shown = ""
    local function print_into(...)
      assert(select("#", ...) > 0)
      for i = 1, select("#", ...) do
        shown = shown .. (i > 1 and "  " or "") .. tostring((select(i, ...)))
      end
      shown = shown .. "\n"
    end
    return print_into, function(block)
      for expected in block:gmatch "%-%-> ([^\n]+\n)" do
        has((shown:gsub("mch_%w+", "mch_…")), expected)
      end
    end
  end

  --- As programs see it: clients that are given no address use the emulator.
  local function require_for_program(name)
    if name ~= "clerk.machines" then return require(name) end
    local function new(given)
      if not given.base_url and not given.transport then
        given.transport = emulator.new { secret_key = given.secret_key }
      end
      return machines.new(given)
    end
    return setmetatable({ new = new }, { __index = machines })
  end

  local programs = {}
  for _, snippet in ipairs(snippets) do
    if snippet.kind == "lua" then programs[#programs + 1] = snippet.text end
  end

  for count, block in ipairs(programs) do
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
        local print_into, check = printer()
        load_with(block, name, {
          arg = { url }, print = print_into, require = require_for_program,
        })()
        check(block)
      end)
    end
  end
end)

describe("The README's commands", function()
  local directory

  before_each(function()
    directory = run "mktemp -d":match "%S+"
  end)
  after_each(function()
    os.execute("rm -rf " .. directory)
    process.none_left()
  end)

  --- For the Lua of this run, with nothing installed outside of the directory.
  local function adapted(commands)
    return (commands:gsub("lua5%.4", LUA):gsub("/usr/local", directory))
  end

  it("show and check what there is: examples/run, spec/run, bench/run", function()
    has(read "spec/examples_spec.lua", " " .. snippet_of("See it work", "examples/run"):match "%S+")
    has(read ".ci/run", "\n" .. snippet_of("See it work", "spec/run"))
    local status, _, usage = process.run "bench/run --unknown"
    assert.equal(2, status)
    assert.equal("usage: " .. snippet_of("Speed", "bench/run"), usage)
  end)

  it("install Debian packages that the examples and specs install", function()
    local packages, count = {}, 0
    for package in read "examples/setup":gmatch "[%w.+-]+" do packages[package] = true end
    for list in readme:gmatch "apt%-get install ([%w.+ -]+)" do
      for package in list:gmatch "%S+" do
        assert(packages[package], package)
        count = count + 1
      end
    end
    assert.is_true(count > 8)
    assert(packages["luajit2"] and packages["libluajit2-5.1-dev"])
    has(section "Install", "`luajit2 libluajit2-5.1-dev`")
  end)

  it("install by LuaRocks, the command for this Lua", function()
    run(("cp -r CMakeLists.txt *.rockspec bin examples lua src %s"):format(directory))
    local beginning = is_luajit and "echo 'lua_interpreter = " or "luarocks "
    local commands = snippet_of("Install", beginning)
    local rocks = ("%s --tree=%s/tree"):format(commands:match "luarocks %-%S+", directory)
    run(("cd %s && unset LUA_PATH LUA_CPATH && %s"):format(directory,
      (commands:gsub("luarocks %-%S+", rocks))))
    has(read(directory .. "/tree/bin/clerk-machines"), LUA)
    local output = run(("cd / && unset LUA_PATH LUA_CPATH && eval \"$(%s path)\" && %s --version")
      :format(rocks, directory .. "/tree/bin/clerk-machines"))
    assert.equal("clerk-machines " .. machines.version .. "\n", output)
  end)

  it("install by CMake", function()
    run((adapted(snippet_of("Install", "cmake ")):gsub("build/", directory .. "/%0")))
    read(("%s/lib/lua/%s/clerk/machines/core.so"):format(directory, is_luajit and "5.1" or "5.4"))
    assert.equal("clerk-machines " .. machines.version .. "\n",
      run("cd / && env -u LUA_PATH -u LUA_CPATH " .. directory .. "/bin/clerk-machines --version"))
  end)

  it("run a program from the checkout", function()
    local program = directory .. "/first.lua"
    local file = assert(io.open(program, "wb"))
    file:write(snippet_of("A first program", "local machines"))
    file:close()
    local server = process.start "bin/clerk-machines emulate"
    local url = assert(server:read_line()):match "^listening on (.*)$"
    local commands = adapted(snippet_of("Install", "export LUA_PATH="))
    has(run((commands:gsub("your_program%.lua", program .. " " .. url))), "404")
    assert.equal(0, server:stop())
  end)

  it("build what hosts embed", function()
    local commands = adapted(snippet_of("Embedding", "cmake "))
    run((commands:gsub("build/embed", "build/embed-" .. LUA) -- where embed_spec builds the same
      :gsub("^cmake", "%0 -UEMBED -DWARNINGS_AS_ERRORS=ON")))
    read(directory .. "/lib/libclerk_machines.a")
  end)

  it("serve the emulator over TLS", function()
    local command, shown = snippet_of("Test your own code", "$ "):match "^%$ ([^\n]+)\n(.*)$"
    local server = process.start(command)
    local lines = { server:read_line(), server:read_line() }
    assert.equal(settled(shown), settled(table.concat(lines, "\n") .. "\n"))
    local client = machines.new {
      secret_key = "sk_test_emulator",
      base_url = lines[1]:match "https://%S+",
      ca_file = lines[2]:match ": (%S+)$",
    }
    assert.equal(0, client:list().total_count)
    client:close()
    assert.equal(0, server:stop())
  end)
end)

describe("The README's snippets", function()
  local HERE, HOSTS, EMBED = "spec/documents_spec.lua", "spec/hosts_spec.lua", "spec/embed_spec.lua"

  --- Who runs those of a kind, or the indented ones of a chapter, and how many there are.
  local runners = {
    lua = { HERE, 8 }, nginx = { "spec/nginx_readme_spec.lua", 1 },
    c = { EMBED, 2 }, cmake = { EMBED, 1 }, ["Embedding"] = { HERE, 1 },
    ["See it work"] = { HERE, 2 }, ["Install"] = { HERE, 5 }, ["Errors"] = { HERE, 1 },
    ["luv"] = { HOSTS, 1 }, ["cqueues"] = { HOSTS, 1 }, ["poll(2), in C"] = { HOSTS, 1 },
    ["In LÖVE"] = { HOSTS, 2 }, ["In Neovim"] = { HOSTS, 2 },
    ["Test your own code"] = { HERE, 1 }, ["The command line"] = { HERE, 1 },
    ["Speed"] = { HERE, 1 },
  }

  it("are all run by a spec", function()
    local counts, expected = {}, {}
    for _, snippet in ipairs(snippets) do
      local place = snippet.kind ~= "" and snippet.kind or snippet.chapter
      counts[place] = (counts[place] or 0) + 1
    end
    for place, runner in pairs(runners) do
      expected[place] = runner[2]
      has(read(runner[1]), "README.md")
    end
    assert.same(expected, counts)
  end)
end)

describe("The README's session of the command", function()
  local text = section "The command line"
  local ID = "mch_%w+"

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

  local function type_command(command, answer)
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
      local answer = step.shown:find "%[y/N%] y\n" and "y\n"
      local shown = type_command((step.command:gsub(ID, real)), answer)
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
