-- Lua states in several threads, under ThreadSanitizer, which ends the process with its own exit
-- status when it has seen a race; see support/threads.c and support/thread.lua.

local emulate = require "support.emulate"
local process = require "support.process"

local output_of, quote = process.output_of, process.quote

local LUA = require("support.interpreter").name
local KEY = "sk_test_marked_key"

local TRY = "echo 'int main(void) { return 0; }' | cc -fsanitize=thread -x c -o /dev/null -"
if process.run(TRY) ~= 0 then
  pending "Lua states in threads: the compiler has no ThreadSanitizer for this machine"
  return
end

describe("Lua states in threads", function()
  local program, emulator, url

  local function compile()
    program = os.tmpname()
    output_of(([[
      cc -fsanitize=thread -g -O1 -D_GNU_SOURCE -DCLERK_VERSION='"0.0.0"' -Isrc/core -Isrc/curl \
        -Isrc/crypto -o %s spec/support/threads.c src/core/*.c src/curl/*.c src/crypto/*.c \
        src/lua/[!e]*.c -Wl,--wrap=curl_global_init \
        $(pkg-config --cflags --libs %s libcurl libcjson libcrypto) -lm -pthread
    ]]):format(program, LUA))
  end

  setup(function()
    compile()
    emulator, url = emulate("--secret-key " .. KEY)
  end)

  teardown(function()
    os.remove(program)
    emulator:stop()
    process.none_left()
  end)

  local function run(plan)
    return output_of(table.concat({ "env", "LUA_PATH=" .. quote(package.path),
      program, "spec/support/thread.lua", plan.threads, plan.states, url, KEY, plan.rounds }, " "))
  end

  it("make calls at the same time", function()
    run { threads = 2, states = 1, rounds = 100 }
  end)

  it("load the library at the same time and initialise libcurl once", function()
    assert.equal("1\n", run { threads = 16, states = 5, rounds = 1 })
  end)
end)
