-- README.md and the manual: every snippet runs, every link leads somewhere.

local documents = require "support.documents"
local emulate = require "support.emulate"
local files = require "support.files"
local interpreter = require "support.interpreter"
local machines = require "clerk.machines"
local process = require "support.process"
local pty = require "support.pty"
local rocks = require "support.rocks"

local read, run = files.read, process.output_of

local LUA, is_luajit = interpreter.name, interpreter.is_luajit
local KEY = "sk_test_emulator"
local ROOT = run("pwd"):match "%S+"

local function has(text, part)
  assert(text:find(part, 1, true), ("%q is missing in:\n%s"):format(part, text))
end

local emulator, url, directory

local function empty_emulator()
  run(("curl -sS --fail -X DELETE -H 'Authorization: Bearer %s' %s"):format(KEY,
    (url:gsub("/v1$", "/emulator/faults"))))
  local client = machines.new { secret_key = KEY, base_url = url }
  for machine in client:each() do client:delete(machine.id) end
  client:close()
end

--- For a describe block: an emulator without machines and an empty directory for each spec.
local function with_emulator()
  setup(function()
    emulator, url = emulate()
  end)
  before_each(function()
    empty_emulator()
    directory = run("mktemp -d"):match "%S+"
  end)
  after_each(function()
    os.execute("rm -rf " .. directory)
  end)
  teardown(function()
    assert.equal(0, emulator:stop())
    process.none_left()
  end)
end

--- The paths of this run, for programs that start in another directory.
local function absolute(paths)
  return (paths:gsub("[^;]+", function(path)
    return path:sub(1, 1) == "/" and path or ROOT .. "/" .. path
  end))
end

--- Runs a command in the spec's directory, with the emulator as the API and `bin` in the PATH.
local function run_here(command)
  local environment = ("LUA_PATH=%s LUA_CPATH=%s CLERK_API_URL=%s CLERK_SECRET_KEY=%s"):format(
    process.quote(absolute(os.getenv "LUA_PATH")), process.quote(absolute(os.getenv "LUA_CPATH")),
    url, KEY)
  return run(("cd %s && export %s PATH=%s/bin:$PATH && %s"):format(directory, environment, ROOT,
    command))
end

describe("The Lua snippet at", function()
  with_emulator()

  local function neovim(path)
    local wait = "lua vim.wait(10000, function() return ended == true end)"
    return ("nvim --headless --clean -c 'luafile %s' -c %s -c qall! 2>&1"):format(path,
      process.quote(wait))
  end

  local LOVE = "love = {}\n%s\nlove.load() repeat love.update() until client:step(0) == 0"

  --- How a snippet that uses one of these is run; all others are run by Lua.
  local function command_for(text, path)
    if text:find("describe(", 1, true) then
      return ("busted --lua=%s %s"):format(LUA, path)
    elseif text:find("vim.", 1, true) then
      files.write(path, text .. "\nclient:spawn(function() client:list() vim.schedule("
        .. "function() ended = true end) end)\n")
      return neovim(path)
    elseif text:find("function love", 1, true) then
      files.write(path, LOVE:format(text))
    end
    return LUA .. " " .. path
  end

  --- What `-->` says is in the output.
  local function check_output(text, output)
    local shown = output:gsub("\t", "  "):gsub("mch_%w+", function(id)
      return text:find(id, 1, true) and id or "mch_…"
    end)
    for expected in text:gmatch "%-%-> ([^\n]+\n)" do has(shown, expected) end
  end

  for _, snippet in ipairs(documents.of_kind "lua") do
    local is_neovim = snippet.text:find("vim.", 1, true)
    if is_luajit or not is_neovim then -- Neovim is LuaJIT
      it(snippet.place .. " runs", function()
        local path = directory .. "/snippet.lua"
        files.write(path, snippet.text)
        local output = run_here(command_for(snippet.text, path))
        check_output(snippet.text, output)
        if is_neovim then assert.falsy(output:find "[Ee]rror", output) end
      end)
    end
  end
end)

--- Without what differs each time, except the IDs of machines and tokens.
local function settled(shown)
  return (shown:gsub("%d+ s +", "N s "):gsub("%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ", "TIME")
    :gsub("ins_%w+", "INSTANCE"):gsub("ak_%w+", "KEY"):gsub("trace %x+", "trace")
    :gsub("127%.0%.0%.1:%d+", "ADDRESS"):gsub("/tmp/[%w_]+", "FILE"):gsub("%-%-port %d+", ""))
end

local has_jq = process.run "command -v jq" == 0

describe("The session at", function()
  with_emulator()

  local IDS = { "mch_%w+", "mt_%x+" }

  --- Each command with what the page says it shows.
  local function steps(text)
    local found = {}
    for line in text:gmatch "([^\n]*)\n" do
      if line:find "^%$ " then
        found[#found + 1] = { command = line:sub(3), shown = "" }
      else
        found[#found].shown = found[#found].shown .. line .. "\n"
      end
    end
    return found
  end

  local function type_command(command, answer)
    local environment = ('env PATH="$PWD/bin:$PATH" CLERK_API_URL=%s CLERK_SECRET_KEY=%s '):format(
      url, KEY)
    local here = ("cd %s && %s"):format(directory, command)
    local screen = pty.start(environment .. "sh -c " .. process.quote(here))
    if answer then
      screen:await "[y/N] "
      screen:type(answer)
    end
    local _, shown = screen:finish()
    return pty.visible(shown)
  end

  local function with_real_ids(text, real)
    for _, id in ipairs(IDS) do text = text:gsub(id, real) end
    return text
  end

  --- Which ID of what was shown stands for one of the page's.
  local function note_ids(real, text, shown)
    for _, pattern in ipairs(IDS) do
      local next_real = shown:gmatch(pattern)
      for id in text:gmatch(pattern) do real[id] = real[id] or next_real() end
    end
  end

  local function check_session(text)
    run_here("ln -s " .. ROOT .. "/examples examples")
    local real = {}
    for _, step in ipairs(steps(text)) do
      local answer = step.shown:find "%[y/N%] y\n" and "y\n"
      local shown = type_command(with_real_ids(step.command, real), answer)
      note_ids(real, step.shown, shown)
      assert.equal(settled(with_real_ids(step.shown, real)), settled(shown))
    end
  end

  --- An emulator goes on after what it prints, and serves.
  local function check_emulator(text)
    local command, shown = text:match "^%$ ([^\n]+)\n(.*)$"
    local server = process.start((command:gsub("^clerk", "bin/%0"):gsub("%-%-port %d+", "")))
    local lines = {}
    for _ in shown:gmatch "\n" do lines[#lines + 1] = server:read_line() end
    assert.equal(settled(shown), settled(table.concat(lines, "\n") .. "\n"))
    local client = machines.new {
      secret_key = KEY,
      base_url = lines[1]:match "http%S+",
      ca_file = lines[2] and lines[2]:match ": (%S+)$",
    }
    assert.equal(0, client:list().total_count)
    client:close()
    assert.equal(0, server:stop())
  end

  for _, snippet in ipairs(documents.of_kind "console") do
    it(snippet.place .. " is what a terminal shows", function()
      if snippet.text:find("| jq ", 1, true) and not has_jq then pending "jq is not installed" end
      local check = snippet.text:find "^%$ %S+ emulate" and check_emulator or check_session
      check(snippet.text)
    end)
  end
end)

describe("The commands at", function()
  with_emulator()

  --- For the Lua of this run, with nothing installed outside of the directory.
  local function adapted(commands)
    return (commands:gsub("lua5%.4", LUA):gsub("/usr/local", directory))
  end

  --- What runs a script is another spec, which says so.
  local function is_run_by(path)
    return function(text) has(read(path), text:match "^[^\n]+") end
  end

  local function check_packages(text)
    local packages = { git = true } -- which brought the checkout
    for package in read "examples/setup":gmatch "[%w.+-]+" do packages[package] = true end
    for list in text:gmatch "apt%-get install ([%w.+ -]+)" do
      for package in list:gmatch "%S+" do assert(packages[package], package) end
    end
  end

  local function install_by_luarocks(text)
    if is_luajit ~= (text:find("luajit", 1, true) ~= nil) then return end
    rocks.copy_checkout(directory)
    rocks.make_server(directory .. "/server")
    local command = text:match "luarocks %-%S+"
    local installing = ("%s --tree=%s/tree --only-server=%s/server"):format(command, directory,
      directory)
    run(("cd %s && unset LUA_PATH LUA_CPATH && %s"):format(directory,
      (text:gsub("luarocks %-%S+", installing))))
    local output = run("cd / && unset LUA_PATH LUA_CPATH && " .. directory
      .. "/tree/bin/clerk-machines --version")
    assert.equal("clerk-machines " .. machines.version .. "\n", output)
    has(read(directory .. "/tree/bin/clerk-machines"), LUA)
  end

  local function install_by_cmake(text)
    run((adapted(text):gsub("build/", directory .. "/%0")))
    read(("%s/lib/lua/%s/clerk/machines/core.so"):format(directory, interpreter.version))
    assert.equal("clerk-machines " .. machines.version .. "\n",
      run("cd / && env -u LUA_PATH -u LUA_CPATH " .. directory .. "/bin/clerk-machines --version"))
  end

  local QUICKSTART = "docs/quickstart.md"

  local function run_from_checkout(text)
    local program = directory .. "/first.lua"
    files.write(program, documents.snippet(QUICKSTART, "local machines"))
    local commands = adapted(text):gsub("%S+%.lua\n", program .. "\n")
      :gsub("http://127%.0%.0%.1:4010", url)
    local environment = ("CLERK_API_URL=%s CLERK_SECRET_KEY=%s"):format(url, KEY)
    local output = run(("export %s; %s"):format(environment, commands))
    has(output, "machine_not_found")
    return output
  end

  --- The page's program after the page's commands.
  local function run_quickstart(text)
    run_here("clerk-machines create 'billing worker'")
    local shown = run_from_checkout(text):gsub("machine mch_%w+", "machine mch_…")
      :gsub("trace %x+", "trace …"):gsub("\t", (" "):rep(5))
    assert.equal(documents.snippet(QUICKSTART, "machine mch_"), shown)
  end

  local function show_usage(text)
    local status, _, usage = process.run "bench/run --unknown"
    assert.equal(2, status)
    assert.equal("usage: " .. text, usage)
  end

  --- As they are, except that the port is a free one and the key is the emulator's.
  local function run_all(text)
    local server, free = emulate()
    assert.equal(0, server:stop())
    local commands = text:gsub("4010", assert(free:match ":(%d+)/")):gsub("sk_test_…", KEY)
    if not text:find "emulate" then commands = commands:gsub("http://127%.0%.0%.1:%d+", url) end
    run_here("ln -s " .. ROOT .. "/bin bin && sh -eu -c " .. process.quote(commands))
  end

  local SPECIAL = {
    { "examples/run", is_run_by "spec/examples_spec.lua" },
    { "examples/setup", is_run_by "spec/examples_spec.lua" },
    { "examples/openresty/", is_run_by "spec/openresty_spec.lua" },
    { "bench/run", show_usage },
    { "apt-get ", check_packages },
    { "git clone ", install_by_luarocks },
    { "echo 'lua_interpreter", install_by_luarocks },
    { "cmake -S . -B build/embed", is_run_by "spec/embed_spec.lua" },
    { "cmake ", install_by_cmake },
    { "export LUA_PATH", run_from_checkout },
    { "export CLERK_API_URL=http://127.0.0.1:4010 CLERK_SECRET_KEY=" .. KEY .. "\nexport LUA_PATH",
      run_quickstart },
  }

  local function runner_of(text)
    for _, special in ipairs(SPECIAL) do
      if text:sub(1, #special[1]) == special[1] then return special[2] end
    end
    return run_all
  end

  for _, snippet in ipairs(documents.of_kind "sh") do
    it(snippet.place .. " work", function()
      if snippet.text:find("| jq ", 1, true) and not has_jq then pending "jq is not installed" end
      runner_of(snippet.text)(snippet.text)
    end)
  end

  it("in README name the LuaJIT packages that the specs install", function()
    local packages = read "examples/setup"
    for _, names in ipairs { "luajit2 libluajit2-5.1-dev", "luajit libluajit-5.1-dev" } do
      has(packages, names)
      has(read "README.md", "`" .. names .. "`")
    end
  end)
end)

describe("The manual", function()
  local function assert_exists(path)
    assert(io.open(path)):close()
  end

  --- The specs that run the other kinds. A page's `text` is not run.
  local RUNNERS = {
    lua = true, console = true, sh = true, text = true,
    nginx = "spec/nginx_documents_spec.lua",
    c = "spec/embed_spec.lua", cmake = "spec/embed_spec.lua",
  }

  for _, path in ipairs(documents.paths "README.md docs/*.md") do
    it("has only snippets that specs run: " .. path, function()
      for _, snippet in ipairs(documents.snippets(path)) do
        local runner = assert(RUNNERS[snippet.kind], snippet.place)
        local name = ('"%s"'):format(snippet.kind)
        assert(runner == true or read(runner):find(name, 1, true), runner)
      end
      local prose = documents.prose(path)
      local has_indented_code = prose:find "\n\n    " or prose:find "\n +```[^t%s]"
      assert.falsy(has_indented_code, "indented code would not be run")
    end)
  end

  for _, path in ipairs(documents.paths "*.md docs/*.md docs/reference/*.md examples/*.md") do
    it("has no dead link: " .. path, function()
      for _, link in ipairs(documents.links(path)) do
        local target, anchor = link:match "^([^#]*)#?(.*)$"
        local file = target == "" and path or (path:match "^.*/" or "") .. target
        assert_exists(file)
        if anchor ~= "" then
          assert(documents.anchors(file)[anchor], ("no anchor %s in %s"):format(anchor, file))
        end
      end
    end)
  end

  it("begins with a README of at most 150 lines", function()
    local _, lines = read "README.md":gsub("\n", "")
    assert.is_true(lines <= 150, lines)
  end)

  it("names only files that exist, for contributors and in SECURITY.md", function()
    for _, path in ipairs { "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md" } do
      for name in read(path):gmatch "`([%w_/.]+)`" do
        if name:find "^src/" or name:find "^lua/" or name:find "^spec/" or name:find "^cmake/" then
          assert_exists(name)
        elseif name:find "_spec$" then
          assert_exists(("spec/%s.lua"):format(name))
        end
      end
    end
  end)

  it("shows errors as they are", function()
    local client = machines.new {
      secret_key = KEY, transport = require("clerk.machines.emulator").new(),
    }
    local _, err = pcall(client.get, client, "mch_x")
    local shown = documents.snippet("docs/errors-and-retries.md", "ClerkErrors: get")
    assert.equal(settled(shown), settled(tostring(err) .. "\n"))
  end)

  it("shows the default retries", function()
    local settings = require "clerk.machines.settings"
    local source = documents.snippet("docs/errors-and-retries.md",
      'local machines = require "clerk.machines"\n\nlocal client = machines.new {\n  retries')
    local path = os.tmpname()
    files.write(path, "return {" .. source:match "retries = %b{}" .. "}")
    local shown = dofile(path)
    os.remove(path)
    assert.same(settings.for_client({ secret_key = KEY }).retries, shown.retries)
  end)
end)

describe("The version", function()
  it("is the one that the changes end with", function()
    has(read "CHANGELOG.md", "\n## " .. machines.version .. " ")
  end)

  it("is the version of the build and the command", function()
    has(read "CMakeLists.txt", "VERSION " .. machines.version .. " ")
    assert.equal("clerk-machines " .. machines.version .. "\n", run "bin/clerk-machines --version")
  end)

  it("is nowhere else, but in what is generated", function()
    local command = "grep -rnF %s src lua bin examples docs README.md clerk-machines-scm-1.rockspec"
    local _, output = process.run(command:format(machines.version))
    assert.equal("", output)
  end)
end)
