-- The package as a user installs it: by LuaRocks, without a network, and by CMake.

local documents = require "support.documents"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"

local run = process.output_of
local is_luajit = rawget(_G, "jit") ~= nil
local lua = require("support.interpreter").name
local version = is_luajit and "5.1" or "5.4"

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

local tree
before_each(function()
  tree = new_directory()
end)
after_each(function()
  os.execute("rm -rf " .. tree)
  process.none_left()
end)

describe("The rock", function()
  local BEGINNING = is_luajit and [[echo 'lua_interpreter = "luajit"' >luajit.lua]]
    or "luarocks --lua-version=5.4 make --deps-mode=none clerk-machines-scm-1.rockspec"

  it("is built by README's commands without a network, and works from its tree", function()
    local source, commands = tree .. "/source", documents.snippet("README.md", BEGINNING)
    local rocks = ("%s --tree=%s/tree"):format(commands:match "luarocks %-%S+", tree)
    run("mkdir " .. source .. " && cp -r CMakeLists.txt *.rockspec bin examples lua src " .. source)
    run(("cd %s && unset LD_PRELOAD LUA_PATH LUA_CPATH && %s"):format(source,
      (commands:gsub("luarocks %-%S+", rocks))))
    run("rm -rf " .. source)
    local paths = ("unset LD_PRELOAD LUA_PATH LUA_CPATH && eval \"$(%s path)\" && "):format(rocks)
    assert.equal(machines.version .. " a",
      run("cd / && " .. paths .. lua .. " -e " .. process.quote(USE)))
    check_command(paths, tree .. "/tree/bin/clerk-machines")
    local command = files.read(tree .. "/tree/bin/clerk-machines")
    assert.truthy(command:find(lua, 1, true), command)
  end)
end)

describe("What CMake installs", function()
  it("works from its prefix, and the command needs no settings", function()
    run(("cmake --install build/%s --prefix %s/prefix"):format(lua, tree))
    local prefix = tree .. "/prefix"
    local paths = ("LUA_PATH='%s/share/lua/%s/?.lua;%s/share/lua/%s/?/init.lua;;' "
      .. "LUA_CPATH='%s/lib/lua/%s/?.so;;' ")
      :format(prefix, version, prefix, version, prefix, version)
    assert.equal(machines.version .. " a",
      run("cd / && " .. CLEAN .. paths .. lua .. " -e " .. process.quote(USE)))
    check_command("unset LD_PRELOAD LUA_PATH LUA_CPATH && ", prefix .. "/bin/clerk-machines")
  end)

  it("is found by the command when that is called through a link", function()
    run(("cmake --install build/%s --prefix %s/prefix"):format(lua, tree))
    run(("ln -s %s/prefix/bin/clerk-machines %s/link"):format(tree, tree))
    assert.equal("clerk-machines " .. machines.version .. "\n",
      run("cd / && " .. CLEAN .. tree .. "/link --version"))
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
    local core = ("env LUA_CPATH='build/%s/?.so;;' "):format(lua) -- not one with sanitizers
    assert.equal(machines.version .. " a", run(core .. lua .. " -e " .. process.quote(program)))
  end)

  it("exports only its opener", function()
    local symbols = run(("nm -D --defined-only build/%s/clerk/machines/core.so"):format(lua))
    assert.equal("luaopen_clerk_machines_core", symbols:match "^%x+ T ([%w_]+)\n$")
  end)

  it("is linked with libcurl and cJSON but not with Lua, and is never unloaded", function()
    local dynamic = run(("readelf -d build/%s/clerk/machines/core.so"):format(lua))
    assert.truthy(dynamic:find "NEEDED.-libcurl")
    assert.truthy(dynamic:find "NEEDED.-libcjson")
    assert.falsy(dynamic:find "NEEDED.-[Ll]ua")
    assert.truthy(dynamic:find "NODELETE")
  end)

  it("is not built without libcurl, and says what to install", function()
    local status, _, errors = process.run(("env PKG_CONFIG_LIBDIR=/nowhere "
      .. "cmake -S . -B %s/build -DLUA=%s"):format(tree, lua))
    assert.not_equal(0, status)
    assert.truthy(errors:find("libcurl 7.88 or newer is missing", 1, true))
  end)
end)
