local core = require "clerk.machines.core"
local process = require "support.process"

local quote = process.quote

local LUA = require("support.interpreter").name

describe("clerk-machines", function()
  local root, scratch, program

  -- With no environment variable but PATH.
  local function bare(arguments, variables)
    return ("env -i PATH=%s %s %s %s"):format(
      quote(os.getenv("PATH")), variables or "", program, arguments)
  end

  local function run(arguments, variables)
    return process.run(bare(arguments, variables))
  end

  local function start(arguments)
    return process.start(bare(arguments))
  end

  local function shell(script)
    local status, output, errors = process.run("set -e; " .. script)
    assert.equal(0, status, errors)
    return output
  end

  local function assert_one_line(errors, pattern)
    assert.matches("^clerk%-machines[%l ]*: [^\n]+\n$", errors)
    assert.matches(pattern, errors)
  end

  before_each(function()
    root = shell("pwd"):gsub("\n", "")
    scratch = shell("mktemp -d"):gsub("\n", "")
    program = root .. "/bin/clerk-machines"
  end)

  after_each(function()
    process.none_left()
    shell("rm -r " .. scratch)
  end)

  -- A separate checkout with these builds.
  local function copy_checkout(...)
    shell(("cp -r %s/bin %s/lua %s; mkdir %s/build"):format(root, root, scratch, scratch))
    for _, build in ipairs { ... } do
      shell(("ln -s %s/build/%s %s/build/%s"):format(root, build, scratch, build))
    end
    program = scratch .. "/bin/clerk-machines"
  end

  local function listens(server)
    local line = server:read_line() or ""
    local status = server:stop()
    return line:find("^listening on http://127%.0%.0%.1:%d+/v1$") ~= nil and status == 0
  end

  it("prints its version", function()
    local status, output, errors = run("--version")
    assert.equal(0, status)
    assert.equal("clerk-machines " .. core.version .. "\n", output)
    assert.equal("", errors)
  end)

  it("prints help with an example", function()
    local status, output = run("--help")
    assert.equal(0, status)
    assert.matches("emulate", output)
    status, output = run("emulate --help")
    assert.equal(0, status)
    assert.matches("\nExample:\n   clerk%-machines emulate", output)
  end)

  it("prints its help on standard error and exits with 2 when no command is given", function()
    for _, arguments in ipairs { "", "scope" } do
      local status, output, errors = run(arguments)
      assert.equal(2, status)
      assert.equal("", output)
      local _, help = run(arguments .. " --help")
      assert.equal(help, errors)
    end
  end)

  it("exits with 2 and one line when it is used wrongly", function()
    local wrong = {
      ["emulated"] = "unknown command 'emulated'%. Did you mean 'emulate'%?",
      ["--foo"] = "unknown option '%-%-foo'",
      ["emulate --foo"] = "unknown option '%-%-foo'",
      ["emulate more"] = "too many arguments",
      ["emulate --port"] = "option '%-%-port' requires an argument",
      ["emulate --port x"] = "%-%-port must be an integer from 0 to 65535, not 'x'",
      ["emulate --port 65536"] = "%-%-port must be an integer from 0 to 65535, not '65536'",
      ["emulate --port=-1"] = "%-%-port must be an integer from 0 to 65535, not '%-1'",
      ["emulate --rate-limit 0"] = "%-%-rate%-limit must be an integer from 1 to %d+, not '0'",
      ["emulate --rate-limit 99999999999"] = "%-%-rate%-limit must be an integer from 1 to %d+",
      ["emulate --secret-key 'a\nb'"] = "%-%-secret%-key must not be empty or have control",
      ["emulate --secret-key ''"] = "%-%-secret%-key must not be empty",
      ["emulate --host ''"] = "%-%-host must not be empty",
    }
    for arguments, pattern in pairs(wrong) do
      local status, output, errors = run(arguments)
      assert.equal(2, status, arguments)
      assert.equal("", output)
      assert_one_line(errors, pattern)
    end
  end)

  describe("fails with a message when it cannot print", function()
    local printing = { "--help", "-h", "--version", "list --help", "scope --help",
      "scope add --help", "emulate" }

    it("to a device that is full", function()
      for _, arguments in ipairs(printing) do
        local status, _, errors = run(arguments .. " >/dev/full")
        assert.equal(1, status, arguments)
        assert_one_line(errors, "cannot write to standard output: No space left on device")
      end
    end)

    it("and leaves no CA file behind when it could not print the file's name", function()
      local note = [[LUA_INIT="local tmpname = os.tmpname
        function os.tmpname()
          local name = tmpname()
          assert(io.open('%s/name', 'w')):write(name)
          return name
        end"]]
      assert.equal(1, (run("emulate --tls >/dev/full", note:format(scratch))))
      local name = shell("cat " .. scratch .. "/name")
      assert.matches("^/", name)
      assert.is_nil(io.open(name))
    end)

    it("to a closed standard output, whatever else is closed", function()
      for _, arguments in ipairs(printing) do
        for _, closed in ipairs { ">&-", "<&- >&-" } do
          local status, _, errors = run(arguments .. " " .. closed)
          assert.equal(1, status, arguments)
          assert_one_line(errors, "cannot write to standard output: Bad file descriptor")
        end
        assert.equal(1, (run(arguments .. " <&- >&- 2>&-")))
      end
    end)
  end)

  describe("finds its Lua and its modules", function()
    it("from any directory", function()
      program = "sh -c " .. quote("cd / && exec " .. program .. ' "$@"') .. " sh"
      assert.is_true(listens(start("emulate")))
    end)

    it("through symlinks, relative ones too", function()
      shell(("ln -s %s %s/one; ln -s one %s/two"):format(program, scratch, scratch))
      program = scratch .. "/two"
      assert.is_true(listens(start("emulate")))
    end)

    it("when it is run by a Lua directly", function()
      program = LUA .. " bin/clerk-machines"
      assert.is_true(listens(start("emulate")))
    end)

    it("with a single build", function()
      copy_checkout(LUA)
      assert.is_true(listens(start("emulate")))
    end)

    it("when installed under a prefix", function()
      local version = _VERSION:match("%d%.%d")
      shell(("mkdir -p %s/bin %s/share/lua %s/lib/lua"):format(scratch, scratch, scratch))
      shell(("cp bin/clerk-machines %s/bin"):format(scratch))
      shell(("cp -r lua %s/share/lua/%s"):format(scratch, version))
      shell(("ln -s %s/build/%s %s/lib/lua/%s"):format(root, LUA, scratch, version))
      program = scratch .. "/bin/clerk-machines"
      assert.is_true(listens(start("emulate")))
    end)

    it("or says how to build", function()
      copy_checkout()
      for _, arguments in ipairs { "emulate", "--version" } do
        local status, output, errors = run(arguments)
        assert.equal(1, status)
        assert.equal("", output)
        assert_one_line(errors, "module 'clerk.machines.core' not found; build it: cmake %-S")
      end
    end)

    it("or says which library is missing", function()
      local hide = [[LUA_INIT="package.preload['%s'] = function()
        error(\"module '%s' not found:\\n\\tno file\", 0) end"]]
      for _, module in ipairs { "http.server", "cqueues", "openssl.x509", "argparse" } do
        local status, output, errors = run("emulate", hide:format(module, module))
        assert.equal(1, status)
        assert.equal("", output)
        assert_one_line(errors, ("module '%s' not found; install "):format(module))
      end
    end)

    it("and shows its version without argparse", function()
      local status, output = run("--version", [[LUA_INIT="package.preload.argparse = error"]])
      assert.equal(0, status)
      assert.equal("clerk-machines " .. core.version .. "\n", output)
    end)
  end)

  describe("emulate", function()
    local function url_of(server)
      return server:read_line():match("^listening on (.*)$")
    end

    local function status_of(url, key)
      local command = "curl -sSg -o /dev/null -w '%%{http_code}' -H 'Authorization: Bearer %s' %s"
      key = key or "sk_test_emulator"
      local _, code = process.run(command:format(key, quote(url .. "/machines")))
      return code
    end

    it("ends quietly on SIGINT and on SIGTERM, and removes the CA's file", function()
      for _, signal in ipairs { "INT", "TERM" } do
        local errors_file = scratch .. "/errors"
        local server = process.start(bare("emulate --tls"), { errors = errors_file })
        server:read_line()
        local ca_file = server:read_line():match("^CA certificate: (.*)$")
        assert.matches("BEGIN CERTIFICATE", shell("cat " .. ca_file))
        assert.equal("600\n", shell("stat -c %a " .. ca_file))
        server:signal(signal)
        local status, output = server:wait()
        assert.equal(0, status)
        assert.equal("", output)
        assert.equal("", shell("cat " .. errors_file))
        assert.is_nil(io.open(ca_file))
      end
    end)

    it("ends on a signal while a connection is open", function()
      local server = start("emulate")
      local url = url_of(server)
      local port = url:match(":(%d+)/")
      local script = "exec 3<>/dev/tcp/127.0.0.1/%s; echo; exec sleep 30"
      local open = process.start("bash -c " .. quote(script:format(port)))
      open:read_line()
      assert.equal(0, server:stop())
      open:stop()
    end)

    it("listens on the given port, and again right after", function()
      local server = start("emulate")
      local url = url_of(server)
      local port = url:match(":(%d+)/")
      for _ = 1, 2 do
        assert.equal("200", status_of(url))
        server:stop()
        server = start("emulate --port " .. port)
        assert.equal(url, url_of(server))
      end
      assert.equal("200", status_of(url))
      server:stop()
    end)

    it("says when the port is taken", function()
      local server = start("emulate")
      local port = url_of(server):match(":(%d+)/")
      local status, output, errors = run("emulate --port " .. port)
      assert.equal(1, status)
      assert.equal("", output)
      assert_one_line(errors, "cannot listen on 127%.0%.0%.1, port " .. port .. ": Address already")
      server:stop()
    end)

    it("says when the host is not an address of this machine", function()
      local status, _, errors = run("emulate --host 192.0.2.1")
      assert.equal(1, status)
      assert_one_line(errors, "cannot listen on 192%.0%.2%.1")
    end)

    it("listens on the given loopback address", function()
      for host, shown in pairs { ["::1"] = "%[::1%]", ["localhost"] = "localhost" } do
        local server = start("emulate --host " .. host)
        local url = url_of(server)
        assert.matches("^http://" .. shown .. ":%d+/v1$", url)
        assert.equal("200", status_of(url))
        server:stop()
      end
    end)

    it("requires the given key and never shows it", function()
      local errors_file = scratch .. "/errors"
      local server = process.start(bare("emulate --secret-key sk_test_private"),
        { errors = errors_file })
      local url = url_of(server)
      assert.equal("200", status_of(url, "sk_test_private"))
      assert.equal("401", status_of(url))
      server:signal("TERM")
      local _, output = server:wait()
      local shown = url .. output .. shell("cat " .. errors_file)
      assert.is_nil(shown:find("sk_test_private", 1, true))
    end)

    it("limits the rate when asked to", function()
      local server = start("emulate --rate-limit 2")
      local url = url_of(server)
      assert.equal("200", status_of(url))
      assert.equal("200", status_of(url))
      assert.equal("429", status_of(url))
      server:stop()
    end)
  end)
end)
