-- The package as a user installs it: by LuaRocks, without a network, and by CMake.

local files = require "support.files"
local interpreter = require "support.interpreter"
local machines = require "clerk.machines"
local process = require "support.process"
local rocks = require "support.rocks"

local run = process.output_of
local lua, version = interpreter.name, interpreter.version

local function new_directory()
  return (run "mktemp -d"):gsub("\n", "")
end

local USE = [[local machines = require "clerk.machines"; local api = require
  "clerk.machines.emulator".new(); local client = machines.new { secret_key = "sk_test_emulator",
  transport = api }; io.write(machines.version, " ", client:create { name = "a" }.name)]]

local CLEAN = "env -u LD_PRELOAD -u LUA_PATH -u LUA_CPATH "

--- The installed command serves one request and stops cleanly.
local function check_command(before, path)
  local command = "cd / && " .. before .. path
  assert.equal("clerk-machines " .. machines.version .. "\n", run(command .. " --version"))
  local program = before .. "exec " .. path .. " emulate"
  local emulating = process.start("sh -c " .. process.quote(program))
  local url = emulating:read_line():match "^listening on (.*)$"
  local answer = run("curl -s -H 'Authorization: Bearer sk_test_emulator' " .. url .. "/machines")
  assert.equal('{"data":[],"total_count":0}', answer)
  assert.equal(0, emulating:stop())
end

local function installs(path)
  assert.truthy(io.open(path), path):close()
end

local tree
before_each(function()
  tree = new_directory()
end)
after_each(function()
  os.execute("rm -rf " .. tree)
  process.none_left()
end)

describe("The rock", function()
  local headers = interpreter.is_luajit and "LUA_INCDIR=/usr/include/luajit-2.1" or ""

  --- LuaRocks with these options, in a home of its own.
  local function luarocks(options)
    return ("%s HOME=%s/home LUAROCKS_CONFIG=%s/config.lua luarocks --lua-version=%s %s "):format(
      CLEAN, tree, tree, version, options)
  end

  --- Makes it in a copy of the checkout, which is gone when this returns.
  local function make(options)
    rocks.copy_checkout(tree .. "/source")
    rocks.make_server(tree .. "/server")
    files.write(tree .. "/config.lua", ("lua_interpreter = %q"):format(lua))
    run(("mkdir -p %s/home && cd %s/source && %s --only-server=%s/server make "
      .. "clerk-machines-scm-1.rockspec %s"):format(tree, tree, luarocks(options), tree, headers))
    run(("rm -rf %s/source %s/server"):format(tree, tree))
  end

  it("works from its tree", function()
    local options = ("--tree=%s/tree"):format(tree)
    make(options)
    local paths = ("eval \"$(%s path)\" && unset LD_PRELOAD && "):format(luarocks(options))
    assert.equal(machines.version .. " a",
      run("cd / && " .. paths .. lua .. " -e " .. process.quote(USE)))
    check_command(paths, tree .. "/tree/bin/clerk-machines")
    local place = ("%s/tree/lib/luarocks/rocks-%s/clerk-machines/scm-1/"):format(tree, version)
    installs(place .. "doc/LICENSE")
    installs(place .. "share/man/man1/clerk-machines.1")
    assert.equal("machines\n", run(("ls %s/tree/lib/lua/%s/clerk"):format(tree, version)))
  end)

  it("has a command that starts, in a user's own tree too", function()
    make "--local"
    assert.matches("^Usage: clerk%-machines list", run(("cd / && %s HOME=%s/home "
      .. "%s/home/.luarocks/bin/clerk-machines list --help"):format(CLEAN, tree, tree)))
  end)

  it("has the library's version", function()
    local name = ("clerk-machines-%s-1.rockspec"):format(machines.version)
    assert.matches(('version = "%s-1"'):format(machines.version), files.read(name), 1, true)
    assert.equal(name .. "\nclerk-machines-scm-1.rockspec\n", run "ls *.rockspec")
    assert.matches("\n## " .. machines.version .. " ", files.read "CHANGELOG.md", 1, true)
  end)

  it("is described without a mistake", function()
    for name in run("ls *.rockspec"):gmatch "%S+" do
      run("luarocks lint " .. name)
    end
  end)
end)

describe("What CMake installs", function()
  --- The environment in which the Lua modules below a prefix are found.
  local function paths_below(prefix, libdir)
    return ("LUA_PATH='%s/share/lua/%s/?.lua;%s/share/lua/%s/?/init.lua;;' "
      .. "LUA_CPATH='%s/%s/lua/%s/?.so;;' "):format(prefix, version, prefix, version, prefix,
      libdir, version)
  end

  it("works from its prefix, and the command needs no settings", function()
    run(("cmake --install build/%s --prefix %s/prefix"):format(lua, tree))
    local prefix = tree .. "/prefix"
    assert.equal(machines.version .. " a",
      run("cd / && " .. CLEAN .. paths_below(prefix, "lib") .. lua .. " -e " .. process.quote(USE)))
    check_command("unset LD_PRELOAD LUA_PATH LUA_CPATH && ", prefix .. "/bin/clerk-machines")
  end)

  it("is found by the command when that is called through a link", function()
    run(("cmake --install build/%s --prefix %s/prefix"):format(lua, tree))
    run(("ln -s %s/prefix/bin/clerk-machines %s/link"):format(tree, tree))
    assert.equal("clerk-machines " .. machines.version .. "\n",
      run("cd / && " .. CLEAN .. tree .. "/link --version"))
  end)

  it("has a manual, and for the command a man page and completions", function()
    run(("cmake --install build/%s --prefix %s"):format(lua, tree))
    installs(tree .. "/share/doc/clerk-machines/LICENSE")
    installs(tree .. "/share/doc/clerk-machines/docs/quickstart.md")
    installs(tree .. "/share/man/man1/clerk-machines.1")
    installs(tree .. "/share/zsh/site-functions/_clerk-machines")
    installs(tree .. "/share/fish/vendor_completions.d/clerk-machines.fish")
    local completions = tree .. "/share/bash-completion/completions/clerk-machines"
    assert.equal("secret\n", run(("bash -c 'source %s; COMP_WORDS=(clerk-machines sec); "
      .. "COMP_CWORD=1; _clerk-machines; echo \"${COMPREPLY[@]}\"'"):format(completions)))
  end)

  --- Runs the C examples, which were built from what is installed.
  local function check_examples()
    local status, _, errors = process.run("env CLERK_SECRET_KEY=k " .. tree .. "/get_machine ..")
    assert.same({ 2, "get_machine: machine_id must be a machine ID, not a path\n" },
      { status, errors })
    status, _, errors = process.run(tree .. "/verify_token")
    assert.equal(2, status)
    assert.matches("^verify_token: usage: ", errors)
  end

  local HEAD = "cmake_minimum_required(VERSION 3.16)\nproject(parent LANGUAGES C)\n"

  it("builds the C examples by find_package", function()
    run(("cmake --install build/%s --prefix %s/prefix"):format(lua, tree))
    files.write(tree .. "/CMakeLists.txt", HEAD .. [[
      find_package(clerk-machines REQUIRED)
      add_executable(get_machine get_machine.c)
      target_link_libraries(get_machine PRIVATE clerk::curl PkgConfig::CJSON)
      add_executable(verify_token verify_token.c)
      target_link_libraries(verify_token PRIVATE clerk::crypto)
    ]])
    run(("cp examples/*.c %s && cmake -S %s -B %s -DCMAKE_PREFIX_PATH=%s/prefix "
      .. "&& cmake --build %s"):format(tree, tree, tree, tree, tree))
    check_examples()
  end)

  it("builds the C examples by pkg-config, wherever libraries go", function()
    run(("cmake -S . -B %s/build -DLUA=%s -DCMAKE_INSTALL_LIBDIR=lib64 && cmake --build %s/build "
      .. "--parallel 2 && cmake --install %s/build --prefix %s/prefix"):format(tree, lua, tree,
      tree, tree))
    assert.equal("clerk-machines " .. machines.version .. "\n",
      run("cd / && " .. CLEAN .. tree .. "/prefix/bin/clerk-machines --version"))
    for _, name in ipairs { "get_machine", "verify_token" } do
      local source = ("examples/%s.c"):format(name)
      local command = files.read(source):match "\n%*%*   (cc [^\n]+)\n"
      run(("PKG_CONFIG_PATH=%s/prefix/lib64/pkgconfig; export PKG_CONFIG_PATH; "
        .. "cp %s %s && cd %s && %s"):format(tree, source, tree, tree, command))
    end
    check_examples()
  end)

  it("can be a part of another project, whatever its targets are called", function()
    files.write(tree .. "/other.c", "int other;")
    files.write(tree .. "/parent.c",
      "#include <clerk.h>\nint main(void) { return !clerk_version(); }")
    files.write(tree .. "/CMakeLists.txt", HEAD .. ("set(LUA %s)\n"):format(lua) .. [[
      add_library(core other.c)
      add_subdirectory(${CHECKOUT} clerk)
      add_executable(parent parent.c)
      target_link_libraries(parent PRIVATE clerk::core)
    ]])
    run(("cmake -S %s -B %s -DCHECKOUT=$PWD && cmake --build %s --target core parent && %s/parent")
      :format(tree, tree, tree, tree))
  end)
end)

describe("CMake", function()
  local function problem_of(options, environment)
    local status, _, errors = process.run(("env %s cmake -S . -B %s/build %s"):format(
      environment or "", tree, options))
    assert.not_equal(0, status)
    return errors
  end

  local function has(text, part)
    assert(text:find(part, 1, true), text)
  end

  it("says in one line which package is missing", function()
    local errors = problem_of("", "PKG_CONFIG_LIBDIR=/nowhere")
    has(errors, "libcurl 7.88 or newer is missing (Debian: apt-get install libcurl4-openssl-dev)\n")
  end)

  it("says in one line which Lua it does not know", function()
    has(problem_of "-DLUA=lua5.9", '"lua5.9" is missing (Debian: apt-get install ')
    has(problem_of "-DLUA_INCLUDE_DIR=/nowhere", "there is no lua.h in /nowhere")
  end)

  it("refuses a Lua that is too old or too new", function()
    for number, name in pairs { ["501"] = "Lua 5.1", ["506"] = "Lua 5.6" } do
      files.write(tree .. "/lua.h", "#define LUA_VERSION_NUM " .. number .. "\n")
      has(problem_of("-DLUA_INCLUDE_DIR=" .. tree), ("lua.h is of %s; needed is Lua 5.2 to 5.5 or "
        .. "LuaJIT 2.1\n"):format(name))
    end
  end)

  it("builds for the Lua of any name", function()
    local names = interpreter.is_luajit and { "luajit" }
      or { "lua" .. version, "lua-" .. version, "lua" .. version:gsub("%.", "") }
    for i, name in ipairs(names) do
      run(("cmake -S . -B %s/%d -DLUA=%s"):format(tree, i, name))
      assert.truthy(run(("cat %s/%d/cmake_install.cmake"):format(tree, i)):find(
        "lib/lua/" .. version .. "/clerk", 1, true))
    end
  end)
end)

describe("The module", function()
  it("sets no global, prints nothing and changes no standard library", function()
    local program = [[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      for name in pairs(string) do before["string." .. name] = true end
    ]] .. USE .. [[
      require "clerk.machines.safe"
      for name in pairs(_G) do assert(before[name], name) end
      for name in pairs(string) do assert(before["string." .. name], name) end
    ]]
    local core = ("env LUA_PATH=%s LUA_CPATH='build/%s/?.so;;' "):format( -- no sanitizers
      process.quote(package.path), lua)
    assert.equal(machines.version .. " a", run(core .. lua .. " -e " .. process.quote(program)))
  end)

  it("exports only its opener", function()
    local symbols = run(("nm -D --defined-only build/%s/clerk/machines/core.so"):format(lua))
    assert.equal("luaopen_clerk_machines_core", symbols:match "^%x+ T ([%w_]+)\n$")
  end)

  it("is linked with libcurl, cJSON and libcrypto, not with Lua, and is never unloaded", function()
    local dynamic = run(("readelf -d build/%s/clerk/machines/core.so"):format(lua))
    assert.truthy(dynamic:find "NEEDED.-libcurl")
    assert.truthy(dynamic:find "NEEDED.-libcjson")
    assert.truthy(dynamic:find "NEEDED.-libcrypto")
    assert.falsy(dynamic:find "NEEDED.-[Ll]ua")
    assert.truthy(dynamic:find "NODELETE")
  end)
end)
