-- The reference and the types are what docs/generate.lua makes of the tables.

local process = require "support.process"

local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"
local GENERATED = { "docs/reference", "lua/clerk/machines/types.lua" }

describe("What docs/generate.lua generates", function()
  local directory
  before_each(function()
    directory = process.output_of("mktemp -d"):match "%S+"
  end)
  after_each(function()
    os.execute("rm -rf " .. directory)
  end)

  it("is up to date", function()
    process.output_of(("%s docs/generate.lua %s"):format(LUA, directory))
    for _, path in ipairs(GENERATED) do
      local _, differences = process.run(("diff -r %s %s/%s"):format(path, directory, path))
      assert.equal("", differences, "run: lua5.4 docs/generate.lua")
    end
  end)
end)
