-- The reference and the types are what docs/generate.lua makes of the tables, and its snippets run.

local emulator = require "clerk.machines.emulator"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"

local LUA = require("support.interpreter").name

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
    for _, path in ipairs { "docs/reference", "lua/clerk/machines/types.lua" } do
      local _, differences = process.run(("diff -r %s %s/%s"):format(path, directory, path))
      assert.equal("", differences, "run: lua5.4 docs/generate.lua")
    end
  end)
end)

describe("The snippets of the reference", function()
  --- What snippets use; clients use one emulator unless they are given a transport.
  local function environment()
    local api = emulator.new()
    local function new(options)
      options.secret_key = "sk_test_emulator"
      options.transport = options.transport or api
      return machines.new(options)
    end
    local client, stand_in = new {}, setmetatable({ new = new }, { __index = machines })
    return setmetatable({
      client = client,
      id = client:create({ name = "a" }).id,
      machines = stand_in,
      print = function() end,
      require = function(name) return name == "clerk.machines" and stand_in or require(name) end,
    }, { __index = _G })
  end

  local function load_in(source, values)
    if not rawget(_G, "setfenv") then
      return assert(load(source, "=snippet", "t", values))
    end
    return setfenv(assert(loadstring(source, "=snippet")), values) -- luacheck: ignore
  end

  for path in process.output_of("ls docs/reference/*.md"):gmatch "%S+" do
    for snippet in files.read(path):gmatch "\n```lua\n(.-\n)```\n" do
      it("run: " .. path, function()
        load_in(snippet, environment())()
      end)
    end
  end
end)
