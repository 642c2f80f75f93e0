-- Programs whose standard input, output or error is closed: no connection takes their place.

local files = require "support.files"
local process = require "support.process"
local server = require "support.server"

local LUA = require("support.interpreter").name
local WORDS = "words of the program"

-- Closes these descriptors by itself after it has made its client, and has made so many calls. With
-- "loop" it makes none, but has a loop.
local PROGRAM = [[
local posix = require "support.posix"
local url, listing, calls = ...
local client = require "clerk.machines.safe".new {
  secret_key = "sk_test_1234", base_url = url, retries = { strategy = "none" },
}
for _ = 1, tonumber(calls) or 0 do client:get "mch_1" end
for i = 4, select("#", ...) do posix.close(tonumber((select(i, ...)))) end
if calls == "loop" then client:pollable() else client:get "mch_1" end
os.execute("ls -l /proc/$PPID/fd >" .. listing)
io.stdout:write "]] .. WORDS .. [[\n"
io.stdout:flush()
io.stderr:write "]] .. WORDS .. [[\n"
if calls ~= "loop" then client:get "mch_1" end
]]

describe("Where a program's standard descriptors are closed, no connection takes", function()
  local web, program, listing

  before_each(function()
    web = server.start [[connection:answer_all(200, '{"id":"mch_1"}')]]
    program, listing = os.tmpname(), os.tmpname()
    files.write(program, PROGRAM)
  end)

  after_each(function()
    server.stop_all()
    os.remove(program)
    os.remove(listing)
  end)

  --- What the descriptors 0, 1 and 2 of the program were after it had closed some of them, and
  --- everything that it had open.
  local function run(url, calls, arguments)
    local status = process.run(
      ("%s %s %s %s %s %s"):format(LUA, program, url, listing, calls, arguments))
    assert.equal(0, status)
    assert.falsy(web:everything():find(WORDS, 1, true))
    local text, targets = files.read(listing), {}
    for fd = 0, 2 do targets[fd] = text:match((" %d %%-> (%%S+)"):format(fd)) end
    return targets, text
  end

  local function targets_of(url, arguments)
    local targets, text = run(url, 0, arguments)
    assert.equal(2, #web:requests())
    assert.matches(" socket:", text)
    return targets
  end

  for _, closed in ipairs { "0<&-", "1>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-", "1>&- 2>&-" } do
    it("their numbers: " .. closed, function()
      local targets = targets_of(web:url "/v1", closed)
      for fd in closed:gmatch "%d" do assert.equal("/dev/null", targets[tonumber(fd)]) end
    end)
  end

  it("their numbers though a name has to be resolved", function()
    local url = web:url("/v1"):gsub("127%.0%.0%.1", "localhost")
    local targets = targets_of(url, "<&- >&- 2>&-")
    for fd = 0, 2 do assert.equal("/dev/null", targets[fd]) end
  end)

  it("their numbers though they are closed later than the client is made", function()
    local targets = targets_of(web:url "/v1", "0 1 2")
    for fd = 0, 2 do assert.equal("/dev/null", targets[fd]) end
  end)

  it("their numbers though they are closed after a call, whose connection is not kept", function()
    web = server.start [[connection:answer_all(200, '{"id":"mch_1"}', "Connection: close")]]
    local targets = run(web:url "/v1", 1, "0 1 2")
    assert.equal(3, #web:requests())
    for fd = 0, 2 do assert.equal("/dev/null", targets[fd]) end
  end)

  it("their numbers though they are closed after a call, whose name was not found", function()
    local targets = run("https://machines.invalid/v1", 1, "0 1 2")
    for fd = 0, 2 do assert.equal("/dev/null", targets[fd]) end
  end)

  if not os.getenv "CLERK_USE_POLL" then
    it("their numbers, nor does the loop", function()
      local targets = run(web:url "/v1", "loop", "<&- >&- 2>&-")
      for fd = 0, 2 do assert.equal("/dev/null", targets[fd]) end
    end)
  end

  it("the numbers of those that are open", function()
    local targets = targets_of(web:url "/v1", "<" .. program .. " >&-")
    assert.equal(program, targets[0])
  end)
end)
