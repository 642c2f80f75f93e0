local core = require "clerk.machines.core"
local json_writer = require "clerk.machines.json_writer"

local function result(text)
  return core.decode(text, core.result)
end

describe("The JSON writer", function()
  it("writes on one line, with members in the order of their names", function()
    assert.equal('{"data":[{"a":1,"b":true}],"total_count":1}',
      json_writer.write { total_count = 1, data = { { b = true, a = 1 } } })
  end)

  it("writes over several lines when it is given an indent", function()
    assert.equal('{\n    "a": [\n      1\n    ],\n    "b": []\n  }',
      json_writer.write({ b = {}, a = { 1 } }, "  "))
  end)

  it("writes what was decoded, with empty objects, empty arrays and null elements", function()
    local text = '{"array":[null,1],"empty":[],"object":{}}'
    assert.equal(text, json_writer.write(result(text)))
  end)

  it("keeps numbers as they were", function()
    local text = "[0,-1,2.5,0.1,1e+300,1700000000000,9007199254740992]"
    assert.equal(text, json_writer.write(result(text)))
    assert.equal("[1e999,-1e999]", json_writer.write { math.huge, -math.huge })
  end)

  it("keeps numbers as they were in a locale with a decimal comma", function()
    local before, found = os.setlocale(nil, "numeric"), os.setlocale("de_DE.UTF-8", "numeric")
    finally(function() os.setlocale(before, "numeric") end)
    if not found then return pending "the locale de_DE.UTF-8 is not installed" end
    assert.equal("[0.5,2.5e-07]", json_writer.write { 0.5, 2.5e-7 })
  end)

  it("escapes what a terminal would interpret, and nothing gets lost", function()
    local value = 'ü\240\159\152\128"\\\b\f\n\r\t\0\31\127\226\128\174'
    local text = json_writer.write(value)
    assert.equal([["ü😀\"\\\b\f\n\r\t\u0000\u001f\u007f\u202e"]], text)
    assert.equal(value, result("[" .. text .. "]")[1])
  end)
end)
