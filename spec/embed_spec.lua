-- What hosts embed: built, installed, linked by CMake and by pkg-config, and run where none of the
-- library's files can be found.

local documents = require "support.documents"
local emulate = require "support.emulate"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"

local lua = require("support.interpreter").name
local archive_of_lua = lua == "luajit" and "libluajit-5.1.a" or ("lib%s.a"):format(lua)
local BUILD = "cmake -S . -B build/embed -DLUA=lua5.4 -DCLERK_EMBED=ON && cmake --build build/embed"

local quote, run = process.quote, process.output_of
local read, write = files.read, files.write

local root = run("pwd"):match "[^\n]+"
local tree, server, url

--- Builds and installs by the manual's commands, and moves what is installed: it must not matter
--- where it lies.
setup(function()
  tree = run("mktemp -d"):match "[^\n]+"
  local commands = documents.snippet("docs/c-and-embedding.md", BUILD):gsub("lua5%.4", lua)
    :gsub("build/embed", "%0-" .. lua):gsub("/usr/local", tree .. "/installed")
    :gsub("^cmake", "%0 -UCLERK_EMBED -DCLERK_WARNINGS_AS_ERRORS=ON")
  run("export CMAKE_BUILD_PARALLEL_LEVEL=2; set -e; " .. commands)
  run(("cd %s && mkdir empty && mv installed prefix"):format(tree))
  server, url = emulate()
end)

teardown(function()
  assert.equal(0, server:stop())
  os.execute("rm -rf " .. tree)
  process.none_left()
end)

--- With the installed pkg-config files, from the checkout.
local function compile(command)
  return run(("PKG_CONFIG_PATH=%s/prefix/lib/pkgconfig; export PKG_CONFIG_PATH; %s"):format(tree,
    command))
end

local function cmake(source, directory)
  run(("cmake -S %s -B %s -DCMAKE_PREFIX_PATH=%s/prefix && cmake --build %s"):format(source,
    directory, tree, directory))
end

--- Runs a program where there is nothing.
local function run_alone(command, environment)
  return process.run(("cd %s/empty && env LUA_PATH=/nowhere LUA_CPATH=/nowhere %s %s"):format(
    tree, environment or "", command))
end

describe("The archive for hosts", function()
  local function compile_host(compiler)
    compile(([[%s -o %s/embed_host spec/support/embed_host.c -Wall -Werror \
      $(pkg-config --cflags --libs clerk-machines) \
      $(pkg-config --cflags %s) -l:%s -lm -ldl]]):format(compiler, tree, lua, archive_of_lua))
  end

  --- What a program of Lua's writes in a host.
  local function output_of(program)
    local command = ("%s/embed_host %s %s"):format(tree, quote(program), url)
    local status, output, errors = run_alone(command, "CLERK_SECRET_KEY=sk_test_emulator")
    assert.equal("", errors)
    assert.equal(0, status)
    return output
  end

  setup(function()
    compile_host "cc"
  end)

  it("serves scripts without any file", function()
    assert.equal(machines.version .. " worker", output_of [[
      package.path, package.cpath = "", ""
      local machines = require "clerk.machines"
      local client = machines.new { base_url = ... }
      local machine = client:create { name = "worker" }
      client:delete(machine.id)
      io.write(machines.version, " ", machine.name)
    ]])
  end)

  it("holds every module, and what each requires", function()
    local names = output_of [[
      require "clerk.machines"
      local names = {}
      package.loaded["ngx.semaphore"] = {} -- nginx's own
      for name in pairs(package.preload) do
        if not name:find("%.adapters%.") then -- which need a host with that event loop
          require(name)
        end
        names[#names + 1] = name
      end
      table.sort(names)
      print(table.concat(names, "\n"))
    ]]
    assert.truthy(names:find("clerk.machines.core\n", 1, true))
    assert.truthy(names:find("clerk.machines.safe\n", 1, true))
    assert.truthy(names:find("clerk.machines.adapters.luv\n", 1, true))
  end)

  it("returns errors by clerk.machines.safe", function()
    assert.equal("nil\tmachine_not_found\n", output_of [[
      require "clerk.machines"
      local client = require "clerk.machines.safe".new { base_url = ... }
      local machine, err = client:get "mch_nobody"
      print(machine, err.code)
    ]])
  end)

  it("says where the mistake of a script is", function()
    assert.equal("program:3", output_of [[
      local client = require "clerk.machines".new { base_url = ... }
      local _, err = pcall(function()
        client:list { limit = 0 }
      end)
      io.write(err.where)
    ]])
  end)

  it("is the same module when it is opened again", function()
    assert.equal("true true", output_of [[
      local again = package.preload["clerk.machines"]()
      local machines = require "clerk.machines"
      local _, err = pcall(again.new, { limit = 1 })
      io.write(tostring(again.null == machines.null), " ", tostring(machines.is_error(err)))
    ]])
  end)

  it("names its symbols by its prefix, and hides them but for the opener", function()
    local symbols = run("readelf -sW " .. tree .. "/prefix/lib/libclerk_machines.a")
    local shown = {}
    for visibility, place, name in symbols:gmatch " GLOBAL +(%u+) +(%w+) (%S+)\n" do
      if place ~= "UND" then
        local is_ours = name:find "^clerk_" or name:find "^luaopen_clerk_"
        assert(is_ours or name:find "^__x86", name) -- which gcc adds on i386
        shown[#shown + 1] = visibility == "DEFAULT" and name or nil
      end
    end
    assert.same({ "luaopen_clerk_machines_core" }, shown)
  end)

  it("can be linked by another compiler", function()
    compile_host "clang"
    assert.equal(machines.version, output_of 'io.write(require "clerk.machines".version)')
  end)
end)

describe("The core for hosts without Lua", function()
  local SOURCE = [[
#include <clerk.h>
#include <stdio.h>
int main(void) {
  clerk_problem problem;
  clerk_status status = clerk_check_base_url((clerk_text){"http://a", 8}, false, &problem);
  printf("%s: %s", clerk_version(), status == CLERK_REFUSED ? problem.message : "");
}
]]
  local LISTS = [[
cmake_minimum_required(VERSION 3.16)
project(user LANGUAGES C)
add_executable(user user.c)
find_package(clerk-machines REQUIRED)
target_link_libraries(user PRIVATE clerk::core)
]]

  setup(function()
    run(("mkdir %s/user"):format(tree))
    write(tree .. "/user/user.c", SOURCE)
    write(tree .. "/user/CMakeLists.txt", LISTS)
  end)

  local function check()
    assert.truthy(run(tree .. "/user/user"):find(machines.version .. ": base_url must be https",
      1, true))
  end

  it("is linked by CMake", function()
    cmake(tree .. "/user", tree .. "/user")
    check()
  end)

  it("is linked by pkg-config", function()
    compile(("cc -o %s/user/user %s/user/user.c $(pkg-config --cflags --libs clerk-core)"):format(
      tree, tree))
    check()
  end)

  it("builds the request that the manual shows", function()
    local source = documents.snippet("docs/c-and-embedding.md", "#include <clerk.h>")
    write(tree .. "/user/manual.c", source)
    compile(("cc -std=c11 -Wall -Wextra -Werror -o %s/user/manual %s/user/manual.c %s"):format(
      tree, tree, "$(pkg-config --cflags --libs clerk-core)"))
    assert.equal(source:match "/%* (GET .-) %*/" .. "\n", run(tree .. "/user/manual"))
  end)
end)

if lua ~= "lua5.4" then
  return -- the example is for Lua 5.4
end

describe("examples/embed", function()
  local SOURCE = "examples/embed/host.c"
  local VALGRIND = "valgrind --quiet --error-exitcode=99 --leak-check=full"

  setup(function()
    cmake("examples/embed", tree .. "/host")
  end)

  local function play(how)
    how = how or {}
    return run_alone(("%s %s/host/%s %s"):format(how.runner or "", tree, how.program or "host",
      how.arguments or root .. "/examples/embed/script.lua"),
      ("CLERK_API_URL=%s CLERK_SECRET_KEY=%s"):format(url, how.key or "sk_test_emulator"))
  end

  local function fault(body)
    run(("curl -sS --fail -H 'Authorization: Bearer sk_test_emulator' "
      .. "-H 'Content-Type: application/json' -d %s %s"):format(quote(body),
      (url:gsub("/v1$", "/emulator/faults"))))
  end

  --- What it prints after the number of frames, which is returned.
  local function check_output(output)
    local frames, lines = output:match "^(%d+) frames\n(.*)$"
    local expected = ""
    for _, name in ipairs { "lobby", "arena", "market" } do
      expected = expected .. ("machine mch_%%w+ %%(%s%%)\n"):format(name)
    end
    assert.matches("^" .. expected .. "$", lines)
    return tonumber(frames)
  end

  it("makes its calls between its frames, and none waits for them", function()
    fault '{"operation":"create","delay_ms":1000}'
    local status, output, errors = play()
    assert.same({ 0, "" }, { status, errors })
    assert.is_true(check_output(output) > 20)
  end)

  it("is linked by pkg-config as its header says", function()
    local command = read(SOURCE):match("\n%*%*   (cc .-)\n%*%*\n"):gsub("\n%*%* ", "\n")
    compile((command:gsub("%-o host", "-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -o " .. tree
      .. "/host/other")))
    local status, output, errors = play { program = "other" }
    assert.same({ 0, "" }, { status, errors })
    check_output(output)
  end)

  it("holds its Lua", function()
    assert.falsy(run(("readelf -d %s/host/host"):format(tree)):find "NEEDED.-[Ll]ua")
  end)

  it("says what failed", function()
    local status, output, errors = play { key = "sk_test_other" }
    assert.equal(1, status)
    assert.matches("^%d+ frames\n$", output)
    assert.matches("^host: ClerkErrors: create: .* %(401 ", errors)
    status, output, errors = play { arguments = "/nowhere.lua" }
    assert.same({ 1, "" }, { status, output })
    assert.matches("^host: .-/nowhere.lua", errors)
    assert.equal(2, (play { arguments = "one another" }))
  end)

  it("leaks nothing, whether it succeeds or fails", function()
    assert.equal(0, (play { runner = VALGRIND }))
    assert.equal(1, (play { runner = VALGRIND, key = "sk_test_other" }))
  end)

end)

describe("The manual's", function()
  it("host runs a script without any file of the library", function()
    write(tree .. "/manual.c", documents.snippet("docs/c-and-embedding.md", "#include <lauxlib.h>"))
    compile(([[cc -std=c11 -Wall -Wextra -Werror -o %s/manual %s/manual.c \
      $(pkg-config --cflags --libs clerk-machines) \
      $(pkg-config --cflags lua5.4) -l:liblua5.4.a -lm -ldl]]):format(tree, tree))
    write(tree .. "/script.lua", 'print(require("clerk.machines").version)')
    local status, output = run_alone(("%s/manual %s/script.lua"):format(tree, tree))
    assert.same({ 0, machines.version .. "\n" }, { status, output })
  end)

  it("excerpts are lines of the examples", function()
    local examples = run "cat examples/*.c examples/*/*.c examples/embed/CMakeLists.txt"
    for _, kind in ipairs { "c", "cmake" } do
      for _, snippet in ipairs(documents.of_kind(kind)) do
        local is_program = snippet.text:find "^#include" -- which is run as it is
        for line in (is_program and "" or snippet.text):gmatch "[^\n]+" do
          assert(examples:find(line:match "^%s*(.-)%s*$", 1, true), snippet.place .. ": " .. line)
        end
      end
    end
  end)
end)
