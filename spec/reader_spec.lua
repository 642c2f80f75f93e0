local core = require "clerk.machines.core"

local has_integers = math.type ~= nil
local null = core.null

-- Exact powers of two on every Lua.
local function power(n)
  return 2.0 ^ n
end

--- The UTF-8 of a code point.
local function utf8_of(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then
    return string.char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
  end
  local last_two = string.char(0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  if code < 0x10000 then return string.char(0xE0 + math.floor(code / 0x1000)) .. last_two end
  return string.char(0xF0 + math.floor(code / 0x40000), 0x80 + math.floor(code / 0x1000) % 0x40)
    .. last_two
end

local function escape_of(code)
  if code < 0x10000 then return ("\\u%04x"):format(code) end
  local high, low = math.floor((code - 0x10000) / 0x400), (code - 0x10000) % 0x400
  return ("\\u%04X\\u%04x"):format(0xD800 + high, 0xDC00 + low)
end

local function fail(text, what)
  error(("%q %s"):format(text:sub(1, 80), what), 3)
end

local function accepted(text)
  local value, message = core.decode(text)
  if message ~= nil then fail(text, "was refused: " .. message) end
  return value
end

--- Reads `text`, which must be refused in the documented form, and returns the offset.
local function refused(text)
  local value, message, offset = core.decode(text)
  if value ~= nil or type(message) ~= "string" then fail(text, "was accepted") end
  if message:match "at byte (%d+)$" ~= ("%d"):format(offset) or offset > #text then
    fail(text, ("was refused at %s: %s"):format(offset, message))
  end
  return offset
end

local function member(text)
  return accepted('{"value":' .. text .. "}").value
end

describe("the JSON reader", function()
  describe("on values", function()
    it("reads the three literals", function()
      assert.is_true(accepted("true"))
      assert.is_false(accepted("false"))
      assert.equal(null, accepted("null"))
    end)

    for _, text in ipairs {
      "True", "TRUE", "tru", "truee", "true1", "t", "fals", "falsE", "f", "nul", "nulll", "Null",
      "n", "nil", "None", "undefined", "yes", "tr ue", "true\0", "NaN", "Infinity", "'a'", "a",
      "`a`", "#", "$", "@", "&", "*", "?", "\\", "/", ":", ",", "]", "}", ")", "(1)", "<a/>",
    } do
      it(("refuses %q"):format(text), function()
        refused(text)
        refused("[" .. text .. "]")
        refused('{"value":' .. text .. "}")
      end)
    end

    it("reads any kind of value as the whole document", function()
      assert.same({}, accepted("[]"))
      assert.same({}, accepted("{}"))
      assert.equal("", accepted('""'))
      assert.equal(0, accepted("0"))
    end)

    it("distinguishes an empty array from an empty object by the object's metatable", function()
      local object = {}
      assert.equal(object, getmetatable((core.decode("{}", object))))
      assert.is_nil(getmetatable((core.decode("[]", object))))
    end)
  end)

  describe("on structure", function()
    for text, expected in pairs {
      ["[1,2,3]"] = { 1, 2, 3 },
      ["[[],[[]],{}]"] = { {}, { {} }, {} },
      ['{"a":{"b":{"c":[{"d":1}]}}}'] = { a = { b = { c = { { d = 1 } } } } },
      ['{"":1}'] = { [""] = 1 },
      ['{"1":"one","2":"two"}'] = { ["1"] = "one", ["2"] = "two" },
      ['{"a b":1,"A B":2}'] = { ["a b"] = 1, ["A B"] = 2 },
      ['{"a\\u0000":1,"a":2}'] = { ["a\0"] = 1, a = 2 },
      ['{"__index":1,"__gc":2,"constructor":3}'] = { __index = 1, __gc = 2, constructor = 3 },
      ['[true,false,"",0,{}]'] = { true, false, "", 0, {} },
    } do
      it("reads " .. text, function()
        assert.same(expected, accepted(text))
      end)
    end

    for _, text in ipairs {
      "[", "]", "{", "}", "[}", "{]", "[[]", "[]]", "{{}}", "{}}", "[1,]", "[,1]", "[,]", "[1,,2]",
      "[1 2]", "[1:2]", "[1;2]", '["a":1]', "[1", "[1,", '["a', '["a"', "[{", "[{}", "[\1]", "[a]",
      '{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}', '{,}', '{"a":1,,"b":2}', '{"a"::1}', '{"a" 1}',
      '{"a":1 "b":2}', '{"a":1;"b":2}', '{"a",1}', '{"a"=1}', '{"a"=>1}', "{1:1}", "{a:1}",
      "{'a':1}", "{null:1}", "{true:1}", "{[]:1}", "{{}:1}", '{"a', '{"a"', '{"a":', '{"a":1',
      '{"a":1,', '{"a":1,"b', '{:1}', '{"a":1:2}', '{"a":[}]', "[1]]", "[1],[2]", '{"a":1}{}',
      '"a""b"', '"a" "b"', "1 2", "null null", "[...]", "[1,...]",
    } do
      it("refuses " .. text:gsub("%c", "?"), function()
        refused(text)
      end)
    end

    for _, text in ipairs {
      "/**/[]", "[]/**/", "[/**/]", "[1/**/]", "//\n[]", "[]//", "[1]#", "#\n[]", "[1,//\n2]",
      '{"a":/**/1}', "<!---->[]", "[]--", "[]\n/",
    } do
      it(("refuses the comment in %q"):format(text), function()
        refused(text)
      end)
    end

    it("takes the last of several members of the same name", function()
      assert.same({ a = 3 }, accepted('{"a":1,"a":2,"a":3}'))
      assert.same({ a = { y = 2 } }, accepted('{"a":{"x":1},"a":{"y":2}}'))
      assert.same({ a = 2 }, accepted('{"a":1,"\\u0061":2}'))
      assert.same({ a = 1 }, accepted('{"a":null,"a":1}'))
    end)

    it("takes the last of members of the same name even if it is null", function()
      assert.same({}, accepted('{"a":1,"a":null}'))
      assert.same({ a = null }, (core.decode('{"a":1,"a":null}', nil, true)))
    end)
  end)

  describe("on null", function()
    it("leaves a null member out", function()
      assert.same({ b = 1 }, accepted('{"a":null,"b":1,"c":null}'))
      assert.same({ a = {} }, accepted('{"a":{"b":null}}'))
    end)

    it("keeps a null member when asked to", function()
      assert.same({ a = null, b = { c = null } },
        (core.decode('{"a":null,"b":{"c":null}}', nil, true)))
    end)

    it("keeps a null element, so that arrays have no holes", function()
      for _, keep_null in ipairs { false, true } do
        local value = core.decode("[null,1,null]", nil, keep_null)
        assert.same({ null, 1, null }, value)
        assert.equal(3, #value)
      end
    end)

    it("reads a bare null with and without being asked to keep it", function()
      assert.equal(null, (core.decode("null")))
      assert.equal(null, (core.decode(" null ", {}, false)))
      assert.equal(null, (core.decode("null", nil, true)))
    end)
  end)

  describe("on metatables", function()
    it("gives the requested one to every object and to no array", function()
      local object = {}
      local value = core.decode('{"a":{},"b":[{},[]]}', object)
      assert.equal(object, getmetatable(value))
      assert.equal(object, getmetatable(value.a))
      assert.equal(object, getmetatable(value.b[1]))
      assert.is_nil(getmetatable(value.b))
      assert.is_nil(getmetatable(value.b[2]))
    end)

    it("sets none by default", function()
      assert.is_nil(getmetatable(accepted("{}")))
      assert.is_nil(getmetatable((core.decode("{}", nil, true))))
    end)

    it("calls no metamethod while it fills an object", function()
      local function called() error "a metamethod" end
      local value = core.decode('{"a":1,"a":null,"b":2}', { __newindex = called, __index = called })
      assert.equal(2, rawget(value, "b"))
      assert.is_nil(rawget(value, "a"))
    end)
  end)

  describe("on numbers", function()
    local integers = {
      { "0", 0 }, { "-0", 0 }, { "1", 1 }, { "-1", -1 }, { "10", 10 }, { "1234567890", 1234567890 },
      { "1700000000123", 1700000000123 }, { "4294967296", 4294967296 },
      { "9007199254740992", 9007199254740992 }, { "-9007199254740992", -9007199254740992 },
    }
    for _, case in ipairs(integers) do
      it("reads the whole number " .. case[1], function()
        local value = accepted(case[1])
        assert.equal(case[2], value)
        if has_integers then assert.equal("integer", math.type(value)) end
      end)
    end

    it("reads whole numbers exactly up to both limits of 64 bits", function()
      local limits = accepted(
        "[9007199254740993,9223372036854775807,-9223372036854775807,-9223372036854775808]")
      if has_integers then
        assert.equal("9007199254740993", tostring(limits[1]))
        assert.equal(math.maxinteger, limits[2])
        assert.equal(-math.maxinteger, limits[3])
        assert.equal(math.mininteger, limits[4])
        for _, value in ipairs(limits) do assert.equal("integer", math.type(value)) end
      else
        assert.same({ power(53), power(63), -power(63), -power(63) }, limits)
      end
    end)

    -- Eight digits are read at once: any other byte at any place among them must be seen.
    it("refuses each byte that is not a digit at each place among digits", function()
      for length = 8, 18 do
        for place = 2, length - 1 do
          for _, byte in ipairs { "/", ":", " ", "0x", "\0", "\127", "\128", "\186", "\255" } do
            local digits = ("9"):rep(length)
            refused("[" .. digits:sub(1, place - 1) .. byte .. digits:sub(place + 1) .. "]")
          end
        end
      end
    end)

    it("reads whole numbers of every length, before whatever may follow", function()
      local digits = "987654321012345678"
      for length = 1, has_integers and 18 or 15 do
        local text = digits:sub(1, length)
        local values = accepted(("[%s,-%s,%s ]"):format(text, text, text))
        table.insert(values, accepted(text))
        for i, sign in ipairs { "", "-", "", "" } do
          assert.equal(sign .. text, ("%d"):format(values[i]))
        end
      end
    end)

    -- Each is a float on every Lua, and exactly the value next to it.
    local floats = {
      { "9223372036854775808", power(63), "one past the upper limit" },
      { "-9223372036854775809", -power(63), "one past the lower limit" },
      { "18446744073709551615", power(64), "the unsigned limit" },
      { "18446744073709551617", power(64), "a number that wraps to one" },
      { "100000000000000000000", 1e20, "twenty-one digits" },
      { "0.0", 0, "zero with a fraction" },
      { "1.0", 1, "a whole number with a fraction" },
      { "-1.5", -1.5, "a negative fraction" },
      { "0.000", 0, "zeros behind the point" },
      { "1e0", 1, "an exponent of zero" },
      { "0e0", 0, "zero with an exponent" },
      { "1e2", 100, "a bare exponent" },
      { "1E2", 100, "an upper-case exponent" },
      { "1e+2", 100, "a positive exponent" },
      { "12e-1", 1.2, "a negative exponent" },
      { "1.25E-2", 0.0125, "a fraction and an exponent" },
      { "1e002", 100, "zeros before the exponent" },
      { "1e-000", 1, "an exponent of minus zero" },
      { "0.1", 0.1, "a tenth" },
      { "123.456e3", 123456, "an exponent that moves the point" },
      { "0.30000000000000004", 0.1 + 0.2, "seventeen digits" },
      { "9007199254740993.0", power(53), "a halfway case, to even below" },
      { "9007199254740995.0", power(53) + 4, "a halfway case, to even above" },
      { "9007199254740993.0000000000000000000000000000000000001", power(53) + 2,
        "just above halfway" },
      { "1.00000000000000011102230246251565404236316680908203125", 1, "halfway above one" },
      { "1.00000000000000011102230246251565404236316680908203124", 1, "just below halfway" },
      { "1.00000000000000011102230246251565404236316680908203126", 1 + power(-52),
        "just above halfway, at the 54th digit" },
      { "1.7976931348623157e308", (2 - power(-52)) * power(1023), "the largest double" },
      { "1.7976931348623158e308", (2 - power(-52)) * power(1023), "a little above the largest" },
      { "1.7976931348623159e308", math.huge, "the first beyond the largest" },
      { "2.2250738585072014e-308", power(-1022), "the smallest normal double" },
      { "2.2250738585072011e-308", power(-1022) - power(-1074), "the largest subnormal" },
      { "4.9406564584124654e-324", power(-1074), "the smallest subnormal" },
      { "2.4703282292062328e-324", power(-1074), "above half of the smallest" },
      { "2.4703282292062327e-324", 0, "below half of the smallest" },
      { "1e-400", 0, "an underflow" },
      { "1e400", math.huge, "an overflow" },
      { "-1e400", -math.huge, "a negative overflow" },
      { "1e99999999999999999999", math.huge, "an exponent past 64 bits" },
      { "-1e+99999999999999999999", -math.huge, "a positive exponent past 64 bits" },
      { "1e-99999999999999999999", 0, "a negative exponent past 64 bits" },
      { "0e99999999999999999999", 0, "zero with an exponent past 64 bits" },
      { "1" .. ("0"):rep(308), 1e308, "309 digits" },
      { "1" .. ("0"):rep(400), math.huge, "401 digits" },
      { "1" .. ("0"):rep(400) .. "e-400", 1, "401 digits brought back by the exponent" },
      { "0." .. ("0"):rep(400) .. "1e401", 1, "400 leading zeros brought back by the exponent" },
      { "0." .. ("3"):rep(5000), 1 / 3, "5000 digits behind the point" },
      { "9007199254740993." .. ("0"):rep(1000), power(53), "halfway with 1000 zeros behind" },
      { "9007199254740993." .. ("0"):rep(1000) .. "1", power(53) + 2,
        "above halfway by the last of 1000 digits" },
      { "9007199254740993" .. ("0"):rep(1000) .. "e-1000", power(53),
        "halfway with 1000 zeros before the point" },
      { "9007199254740993" .. ("0"):rep(1000) .. "1e-1001", power(53) + 2,
        "above halfway by the last of 1000 digits before the point" },
      { ("9"):rep(50000), math.huge, "50000 digits before it" },
    }
    for _, case in ipairs(floats) do
      local text, expected, name = case[1], case[2], case[3]
      it("reads as a float " .. name, function()
        for _, value in ipairs { accepted(text), accepted("[" .. text .. "]")[1], member(text) } do
          assert.equal(expected, value)
          if has_integers then assert.equal("float", math.type(value)) end
        end
      end)
    end

    it("keeps the sign of a float zero", function()
      for _, text in ipairs { "-0.0", "-0e0", "-0.0e-5", "-1e-400" } do
        assert.equal(-math.huge, 1 / accepted(text))
      end
      assert.equal(math.huge, 1 / accepted("0.0"))
    end)

    for _, text in ipairs {
      "-", "+", "+1", "+0", "--1", "-+1", "+-1", "1-", "1+", "1+1", "-a", "- 1", "1 .5",
      "01", "-01", "00", "-00", "007", "0123.5", "00.5", "0 1",
      ".", ".5", "-.5", "1.", "-1.", "0.", "1.e1", "1.+1", "1..2", "1.2.3", ".e1", "1._5",
      "e", "e1", "1e", "1E", "1e+", "1e-", "1.5e", "1ee1", "1e1e1", "1e1.5", "1e.5", "1e 5", "0e",
      "1e+-1", "1e++1", "0x10", "0X1", "0x", "0b1", "0o7", "1_000", "1,000", "1'000", "1a", "1f",
      "1L", "1n", "1d", "nan", "-nan", "-NaN", "inf", "-inf", "-Infinity", "1/2", "1%",
      "1\0", "-\0", "\239\188\145", "1\194\160", "\194\1781",
    } do
      it(("refuses the number %q"):format(text), function()
        refused(text)
        refused("[" .. text .. "]")
        refused('{"value":' .. text .. "}")
      end)
    end

    it("is not disturbed by a locale with a decimal comma", function()
      local before, found = os.setlocale(nil, "numeric"), nil
      finally(function() os.setlocale(before, "numeric") end)
      for _, name in ipairs { "de_DE", "fr_FR", "it_IT", "ru_RU", "pt_BR", "da_DK" } do
        found = found or os.setlocale(name .. ".UTF-8", "numeric") or os.setlocale(name, "numeric")
      end
      if not found then return pending("no locale with a decimal comma is installed") end
      assert.same({ 1.5, 0.025, 1e300 }, accepted("[1.5,2.5e-2,1e300]"))
      refused("[1,5")
      assert.same({ 1, 5 }, accepted("[1,5]"))
    end)
  end)

  describe("on strings", function()
    for text, expected in pairs {
      ['""'] = "",
      ['"a"'] = "a",
      ['"\\"\\\\\\/\\b\\f\\n\\r\\t"'] = '"\\/\b\f\n\r\t',
      ['"/"'] = "/",
      ['"\\u0041\\u00e9\\u00C9\\u20aC"'] = "A\195\169\195\137\226\130\172",
      ['"\\u0000"'] = "\0",
      ['"a\\u0000b\\u0000"'] = "a\0b\0",
      ['"\\u001f\\u007f\\u0080"'] = "\31\127\194\128",
      ['"\\\\u0041"'] = "\\u0041",
      ['"\\\\\\u0041"'] = "\\A",
      ['"\\ud83d\\ude00"'] = "\240\159\152\128",
      ['"\\uD800\\uDC00"'] = "\240\144\128\128",
      ['"\\udBFf\\udFfF"'] = "\244\143\191\191",
      ['"\\ufeff"'] = "\239\187\191",
      ['"\\uffff\\ufffe"'] = "\239\191\191\239\191\190",
      ['"\127"'] = "\127",
      ['"\195\188\226\130\172\240\159\152\128"'] = "\195\188\226\130\172\240\159\152\128",
      ['"\239\187\191"'] = "\239\187\191",
      ['"[1,{\'a\':2}]//"'] = "[1,{'a':2}]//",
    } do
      it(("reads %q"):format(text), function()
        assert.equal(expected, accepted(text))
        assert.equal(1, accepted("{" .. text .. ":1}")[expected])
      end)
    end

    it("reads every code point, raw and escaped", function()
      for first = 0, 0x10FF00, 0x100 do
        local raw, escaped = {}, {}
        for code = first, first + 0xFF, first < 0x3000 and 1 or 17 do
          if code < 0xD800 or code > 0xDFFF then
            raw[#raw + 1], escaped[#escaped + 1] = utf8_of(code), escape_of(code)
          end
        end
        local expected = table.concat(raw)
        assert.equal(expected, accepted('"' .. table.concat(escaped) .. '"'))
        if first > 0 then assert.equal(expected, accepted('"' .. expected .. '"')) end
      end
    end)

    it("reads long strings, plain and full of escapes", function()
      assert.equal(("x"):rep(1e6), accepted('"' .. ("x"):rep(1e6) .. '"'))
      assert.equal(("\n\0"):rep(1e5), accepted('"' .. ("\\n\\u0000"):rep(1e5) .. '"'))
    end)

    it("allows exactly the raw ASCII that RFC 8259 allows", function()
      for code = 0, 127 do
        local text = '"' .. string.char(code) .. '"'
        if code < 32 or code == 34 or code == 92 then
          refused(text)
        else
          assert.equal(string.char(code), accepted(text))
        end
      end
    end)

    it("notices special characters at every place of a string", function()
      local cases = { ["\\n"] = "\n", ["\195\188"] = "\195\188", ["\127"] = "\127", [" "] = " " }
      for before = 0, 24 do
        for after = 0, 17 do
          local left, right = ("a"):rep(before), ("~"):rep(after)
          for written, meant in pairs(cases) do
            assert.equal(left .. meant .. right, accepted('"' .. left .. written .. right .. '"'))
          end
          for _, bad in ipairs { "\0", "\31", "\\", "\255", '"' } do
            refused('"' .. left .. bad .. right .. '"')
          end
        end
      end
    end)

    it("allows exactly the eight short escapes", function()
      local short = {
        ['"'] = '"', ["\\"] = "\\", ["/"] = "/",
        b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
      }
      for code = 0, 255 do
        local letter = string.char(code)
        local text = '"\\' .. letter .. '"'
        if short[letter] then assert.equal(short[letter], accepted(text)) else refused(text) end
      end
    end)

    local malformed = {
      { "no closing quote", '"a' },
      { "an escaped closing quote", '"a\\"' },
      { "a backslash at the end", '"\\' },
      { "a cut escape", '"\\u' },
      { "an escape of three digits", '"\\u004"' },
      { "an escape with a letter", '"\\u00g0"' },
      { "an escape with a space", '"\\u 041"' },
      { "an escape with a sign", '"\\u+041"' },
      { "an escape with 0x", '"\\u0x41"' },
      { "an escape with braces", '"\\u{41}"' },
      { "an upper-case U", '"\\U0041"' },
      { "a hexadecimal escape", '"\\x41"' },
      { "an octal escape", '"\\101"' },
      { "a line continuation", '"\\\n"' },
      { "single quotes", "'a'" },
      { "a NUL byte", '"a\0b"' },
      { "a raw tab", '"\t"' },
      { "a raw newline", '"\n"' },
    }
    for _, case in ipairs(malformed) do
      it("refuses " .. case[1], function()
        refused(case[2])
        refused("[" .. case[2] .. "]")
        refused("{" .. case[2] .. ":1}")
      end)
    end

    local lone = utf8_of(0xFFFD)
    local surrogates = {
      { "a lone high one", "\\ud800", lone },
      { "the last high one alone", "\\udbff", lone },
      { "a lone low one", "\\udc00", lone },
      { "the last low one alone", "\\udfff", lone },
      { "a reversed pair", "\\udc00\\ud800", lone .. lone },
      { "two high ones", "\\ud800\\ud800", lone .. lone },
      { "two low ones", "\\udc00\\udc00", lone .. lone },
      { "two high ones and a low one", "\\ud800\\ud800\\udc00", lone .. utf8_of(0x10000) },
      { "a pair and a low one", "\\ud83d\\ude00\\ude00", utf8_of(0x1F600) .. lone },
      { "a high one before a letter", "\\ud800a", lone .. "a" },
      { "a high one before a short escape", "\\ud800\\n", lone .. "\n" },
      { "a high one before another escape", "\\ud800\\u0041", lone .. "A" },
      { "a high one before U+E000", "\\ud800\\ue000", lone .. utf8_of(0xE000) },
      { "a high one before a backslash", "\\ud800\\\\udc00", lone .. "\\udc00" },
      { "a low one before a raw character", "\\udc00\195\188", lone .. "\195\188" },
    }
    for _, case in ipairs(surrogates) do
      it("reads as U+FFFD the surrogate in " .. case[1], function()
        local written, meant = case[2], case[3]
        assert.equal(meant, accepted('"' .. written .. '"'))
        assert.equal(1, accepted('{"' .. written .. '":1}')[meant])
        assert.same({ "a" .. meant .. "z", 2 }, accepted('["a' .. written .. 'z",2]'))
        assert.equal((meant .. "."):rep(1000), accepted('"' .. (written .. "."):rep(1000) .. '"'))
      end)
    end

    local no_surrogates = {
      { "a high one before a cut escape", "\\ud800\\u" },
      { "a high one before a cut low one", "\\ud800\\udc0" },
      { "a high one before a low one with a letter", "\\ud800\\udc0g" },
      { "a cut high one", "\\ud80" },
      { "a high one before a raw low one", "\\ud800\237\176\128" },
      { "a raw high one before an escaped low one", "\237\160\128\\udc00" },
    }
    for _, case in ipairs(no_surrogates) do
      it("refuses the surrogates in " .. case[1], function()
        refused('"' .. case[2] .. '"')
        refused('{"' .. case[2] .. '":1}')
        refused('["a' .. case[2] .. 'z"]')
      end)
    end

    local broken = {
      { "a stray continuation", "\128" },
      { "the last stray continuation", "\191" },
      { "a continuation too many", "\195\188\188" },
      { "two bytes cut", "\195" },
      { "three bytes cut after one", "\226" },
      { "three bytes cut after two", "\226\130" },
      { "four bytes cut after one", "\240" },
      { "four bytes cut after two", "\240\159" },
      { "four bytes cut after three", "\240\159\152" },
      { "an overlong NUL", "\192\128" },
      { "an overlong slash", "\192\175" },
      { "an overlong U+007F", "\193\191" },
      { "an overlong slash of three bytes", "\224\128\175" },
      { "an overlong U+07FF", "\224\159\191" },
      { "an overlong slash of four bytes", "\240\128\128\175" },
      { "an overlong U+FFFF", "\240\143\191\191" },
      { "U+D800 encoded", "\237\160\128" },
      { "U+DFFF encoded", "\237\191\191" },
      { "a pair of surrogates encoded", "\237\160\189\237\184\128" },
      { "U+110000", "\244\144\128\128" },
      { "U+13FFFF", "\244\191\191\191" },
      { "a lead of F5", "\245\128\128\128" },
      { "five bytes", "\248\136\128\128\128" },
      { "six bytes", "\252\132\128\128\128\128" },
      { "FE", "\254" },
      { "FF", "\255" },
      { "Latin-1", "caf\233" },
      { "UTF-16", "\255\254a\0" },
      { "ASCII in place of the second byte", "\226a\172" },
      { "ASCII in place of the third byte", "\226\130a" },
      { "a lead in place of the last byte", "\240\159\152\195" },
    }
    for _, case in ipairs(broken) do
      it("refuses as UTF-8 " .. case[1], function()
        local offset = refused('"ok' .. case[2] .. '"')
        assert.is_true(offset >= 3 and offset <= 3 + #case[2])
        refused('{"' .. case[2] .. '":1}')
        refused('["' .. case[2] .. 'b"]')
        refused('["' .. case[2])
        refused(case[2])
      end)
    end

    it("allows exactly the pairs of bytes that are UTF-8", function()
      for lead = 0x80, 0xFF do
        for second = 0x80, 0xFF do
          local pair = string.char(lead, second)
          local valid = lead >= 0xC2 and lead <= 0xDF and second <= 0xBF
          local value = core.decode('"' .. pair .. '"')
          if value ~= (valid and pair or nil) then
            error(("bytes %02X %02X"):format(lead, second))
          end
        end
      end
    end)

    it("has the same limits of three and four bytes as UTF-8", function()
      for _, code in ipairs { 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF,
        0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF } do
        assert.equal(utf8_of(code), accepted('"' .. utf8_of(code) .. '"'))
      end
      for _, code in ipairs { 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0x110000 } do
        refused('"' .. utf8_of(code) .. '"')
      end
    end)
  end)

  describe("on white space", function()
    it("allows the four kinds around every token", function()
      local text = ' \t\n\r{ \t\n\r"a" \t\n\r: \t\n\r[ \t\n\r1 \t\n\r, \t\n\rtrue \t\n\r] \t\n\r, '
        .. '\t\n\r"b" \t\n\r: \t\n\r{ \t\n\r} \t\n\r} \t\n\r'
      assert.same({ a = { 1, true }, b = {} }, accepted(text))
      assert.same({}, accepted("[ ]"))
      assert.equal(1, accepted("\r\n1\r\n"))
    end)

    it("allows no other byte before, after or within a document", function()
      for code = 0, 255 do
        local byte = string.char(code)
        local is_space = byte == " " or byte == "\t" or byte == "\n" or byte == "\r"
        for _, text in ipairs { byte .. "[]", "[]" .. byte, "{}" .. byte, '""' .. byte,
          '{"a"' .. byte .. ":1}", '{"a":1' .. byte .. ',"b":2}' } do
          local digit = text:find "1%d"
          if is_space or digit then accepted(text) else refused(text) end
        end
      end
    end)

    for name, space in pairs {
      ["a form feed"] = "\f", ["a vertical tab"] = "\v", ["a backspace"] = "\b",
      ["a NUL"] = "\0", ["a DEL"] = "\127", ["a no-break space"] = "\194\160",
      ["a line separator"] = "\226\128\168", ["a zero-width space"] = "\226\128\139",
      ["an ideographic space"] = "\227\128\128", ["a next line"] = "\194\133",
    } do
      it("refuses " .. name, function()
        refused(space .. "[]")
        refused("[" .. space .. "]")
        refused("[1" .. space .. "]")
        refused("[]" .. space)
      end)
    end

    it("skips a byte order mark at the start", function()
      assert.same({ a = 1 }, accepted("\239\187\191{\"a\":1}"))
      assert.same({ 1 }, accepted("\239\187\191 \r\n[1]\n"))
      assert.equal("\239\187\191", accepted('\239\187\191"\239\187\191"'))
      assert.equal(4, refused("\239\187\191[a]"))
    end)

    it("refuses a byte order mark elsewhere, repeated, cut off or in UTF-16", function()
      assert.equal(3, refused("\239\187\191"))
      assert.equal(3, refused("\239\187\191\239\187\191{}"))
      assert.equal(0, refused("\239\187{}"))
      refused(" \239\187\191{}")
      refused("[\239\187\191]")
      refused("{}\239\187\191")
      refused("\254\255\0{\0}")
      refused("\255\254{\0}\0")
    end)

    it("refuses an empty document", function()
      assert.equal(0, refused(""))
      assert.equal(1, refused(" "))
      assert.equal(4, refused(" \t\n\r"))
      refused("\0")
    end)
  end)

  describe("on depth", function()
    local function nested(opening, middle, closing, depth)
      return opening:rep(depth) .. middle .. closing:rep(depth)
    end

    local kinds = {
      { "arrays", "[", "", "]", 1 },
      { "objects", '{"a":', "{}", "}", 1, 1 },
      { "arrays in objects", '{"a":[', "", "]}", 2 },
      { "objects in arrays", '[{"a":', "[]", "}]", 2, 1 },
    }
    for _, kind in ipairs(kinds) do
      local name, opening, middle, closing, step, inner = (table.unpack or unpack)(kind)
      it("reads 512 levels of " .. name .. " and not one more", function()
        local fitting = math.floor((512 - (inner or 0)) / step)
        accepted(nested(opening, middle, closing, fitting))
        local offset = refused(nested(opening, middle, closing, fitting + 1))
        assert.is_true(offset <= #opening * (fitting + 1) + #middle)
      end)

      it("refuses 100 000 levels of " .. name .. " without crashing", function()
        refused(nested(opening, middle, closing, 1e5))
        refused(opening:rep(1e5))
      end)
    end

    it("refuses level 513 where it opens", function()
      local value = accepted(nested("[", "", "]", 512))
      for _ = 1, 511 do value = value[1] end
      assert.same({}, value)
      assert.equal(512, refused(nested("[", "", "]", 513)))
      assert.equal(512, refused(("["):rep(512) .. "{}" .. ("]"):rep(512)))
      accepted(("["):rep(512) .. "1,null,true" .. ("]"):rep(512))
    end)

    it("counts depth, not brackets", function()
      accepted(("["):rep(511) .. ("[],{},"):rep(1000) .. "[]" .. ("]"):rep(511))
      assert.equal(1e5, #accepted("[" .. ("[],"):rep(1e5 - 1) .. "{}]"))
      accepted('"' .. ("["):rep(1e4) .. '"')
    end)
  end)

  describe("on size", function()
    it("reads an array of 100 000 elements in order", function()
      local parts = {}
      for i = 1, 1e5 do parts[i] = ("%d"):format(i) end
      local value = accepted("[" .. table.concat(parts, ",") .. "]")
      assert.equal(1e5, #value)
      for i = 1, 1e5, 9999 do assert.equal(i, value[i]) end
    end)

    it("reads an object of 20 000 members", function()
      local parts = {}
      for i = 1, 20000 do parts[i] = ('"k%d":%d'):format(i, i) end
      local value = accepted("{" .. table.concat(parts, ",") .. "}")
      for i = 1, 20000, 999 do assert.equal(i, value["k" .. i]) end
    end)
  end)

  describe("on offsets", function()
    for text, offset in pairs {
      ["x"] = 0, ["]"] = 0, ["  x"] = 2, ["[1,]"] = 3, ["[,"] = 1, ["[1 2]"] = 3, ["[1:2]"] = 2,
      ["[1,,2]"] = 3, ["[1}"] = 2, ["{"] = 1, ["{]"] = 1, ["{1:2}"] = 1, ['{"a"'] = 4,
      ['{"a" 1}'] = 5, ['{"a",1}'] = 4, ['{"a":}'] = 5, ['{"a":1,}'] = 7, ['{"a":1;'] = 6,
      ["[1] x"] = 4, ["[1]]"] = 3, ["[1"] = 2, ["[1,"] = 3, ['"a\nb"'] = 2, ['{"a":"\1"}'] = 6,
      ["1\0"] = 1, ['"\195\188" x'] = 5, ["\n\n\nx"] = 3, [".5"] = 0, ["+1"] = 0,
    } do
      it(("points into %q"):format(text), function()
        assert.equal(offset, refused(text))
      end)
    end

    it("points to the first of several errors", function()
      assert.equal(3, refused('[1,}, "\255", 01'))
    end)
  end)

  describe("on documents that are cut off", function()
    local document = table.concat({
      '\n{"data": [ {"object":"machine", "id":"mch_1", "name":"caf\195\169 \\"\\ud83d\\ude00\\"",',
      '"created_at":1700000000123,"ratio":-1.25e-3,"ok":true,"no":false,"gone":null,',
      '"scoped_machines":[[],{},[{"x":[1,-2,3.5E+2]}]],"":"\240\159\152\128"} ],',
      '"total_count":9223372036854775807, "last":""}',
    }, "\r\n\t")

    it("reads the whole of a rich document", function()
      local machine = accepted(document).data[1]
      assert.equal('caf\195\169 "\240\159\152\128"', machine.name)
      assert.equal("\240\159\152\128", machine[""])
      assert.equal(350, machine.scoped_machines[3][1].x[3])
    end)

    it("refuses it when it is cut off at any byte", function()
      for length = 0, #document - 1 do
        refused(document:sub(1, length))
      end
    end)

    it("refuses it when it begins at any later byte", function()
      for first = 3, #document do
        refused(document:sub(first))
      end
    end)
  end)

  describe("on random input", function()
    local seed = 20260512
    local state

    --- The same numbers on every Lua: a Lehmer generator, exact in doubles.
    local function random(n)
      state = state * 48271 % 2147483647
      return math.floor(state / 2147483647 * n) + 1
    end

    local function chance(percent)
      return random(100) <= percent
    end

    before_each(function() state = seed end)

    local characters = {
      "a", "Z", "0", " ", "/", '"', "\\", "\b", "\f", "\n", "\r", "\t", "\0", "\1", "\31", "\127",
      utf8_of(0x80), utf8_of(0x7FF), utf8_of(0x800), utf8_of(0xFFFF), utf8_of(0x10000),
      utf8_of(0x10FFFF), utf8_of(0xFEFF), utf8_of(0x2028),
    }
    local codes = {
      97, 90, 48, 32, 47, 34, 92, 8, 12, 10, 13, 9, 0, 1, 31, 127,
      0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF, 0xFEFF, 0x2028,
    }
    local short = {
      ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/",
      ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
    }
    local marker = {}
    local spaces = { " ", "\t", "\n", "\r" }

    local function space()
      return chance(70) and "" or spaces[random(4)]:rep(random(3))
    end

    local function a_string()
      local raw, written = {}, {}
      for i = 1, random(8) - 1 do
        local which = random(#characters)
        local character = characters[which]
        raw[i] = character
        if codes[which] < 32 or character == '"' or character == "\\" or chance(30) then
          written[i] = chance(50) and short[character] or escape_of(codes[which])
        else
          written[i] = character
        end
      end
      return table.concat(raw), '"' .. table.concat(written) .. '"'
    end

    local function a_number()
      if chance(50) then
        local value = (random(2) * 2 - 3) * random(2 ^ random(31))
        return value, ("%d"):format(value)
      end
      local value = (random(2 ^ 31) / 2 ^ 31 - 0.5) * 2.0 ^ (random(600) - 300)
      local written = ("%.17g"):format(value)
      if not written:find "[.e]" then written = written .. ".0" end
      return value, chance(50) and written:upper() or written
    end

    local a_value

    local function an_array(depth)
      local value, written = {}, {}
      for i = 1, random(5) - 1 do
        value[i], written[i] = a_value(depth - 1)
        written[i] = space() .. written[i] .. space()
      end
      return value, "[" .. (written[1] and table.concat(written, ",") or space()) .. "]"
    end

    local function an_object(depth)
      local value, written = setmetatable({}, marker), {}
      for i = 1, random(5) - 1 do
        local name, written_name = a_string()
        local content, written_content = a_value(depth - 1)
        value[name] = content
        written[i] = space() .. written_name .. space() .. ":" .. space() .. written_content
          .. space()
      end
      return value, "{" .. (written[1] and table.concat(written, ",") or space()) .. "}"
    end

    function a_value(depth)
      local kind = random(depth > 0 and 7 or 4)
      if kind == 1 then return a_string() end
      if kind == 2 then return a_number() end
      if kind == 3 then return null, "null" end
      if kind == 4 then
        local value = chance(50)
        return value, tostring(value)
      end
      if kind == 5 then return an_array(depth) end
      return an_object(depth)
    end

    local function same(expected, actual)
      if type(expected) ~= "table" then return expected == actual end
      if type(actual) ~= "table" then return false end
      if getmetatable(expected) ~= getmetatable(actual) then return false end
      for key, value in pairs(expected) do
        if not same(value, actual[key]) then return false end
      end
      for key in pairs(actual) do
        if expected[key] == nil then return false end
      end
      return true
    end

    it("reads back what was written in any layout", function()
      for _ = 1, 3000 do
        local value, written = a_value(5)
        local text = space() .. written .. space()
        local read, message = core.decode(text, marker, true)
        if not same(value, read) then
          error(("seed %d: %q gave %s"):format(seed, text, tostring(message)))
        end
      end
    end)

    it("reads doubles that were printed with 17 digits exactly", function()
      for _ = 1, 3000 do
        local value = (random(2 ^ 31) + random(2 ^ 31) * 2.0 ^ -31) * 2.0 ^ (random(2000) - 1060)
        local text = ("%.16e"):format(value)
        assert.equal(value, accepted(text), text)
      end
    end)

    it("returns a value or an error for random bytes", function()
      local tokens = { "[", "]", "{", "}", ",", ":", '"', "\\", "u", "d8", "00", "1", "-", ".",
        "e", "true", "null", '"a":', " ", "\0", "\195", "\188", "\255" }
      for _ = 1, 20000 do
        local parts = {}
        for i = 1, random(12) do parts[i] = tokens[random(#tokens)] end
        local text = table.concat(parts)
        if core.decode(text) == nil then refused(text) end
      end
    end)
  end)
end)
