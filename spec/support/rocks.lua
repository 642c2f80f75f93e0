-- LuaRocks without a network: a directory that serves what the rock depends on.

local files = require "support.files"
local process = require "support.process"

local ARGPARSE = [[
rockspec_format = "3.0"
package = "argparse"
version = "0.7.1-1"
source = { url = "file://%s" }
build = { type = "builtin", modules = { argparse = "argparse.lua" } }
]]

local rocks = {}

--- Makes the directory `path`, for luarocks --only-server.
function rocks.make_server(path)
  local argparse = assert(package.searchpath("argparse", package.path))
  process.output_of("mkdir " .. path)
  files.write(path .. "/argparse-0.7.1-1.rockspec", ARGPARSE:format(argparse))
  process.output_of("luarocks-admin make-manifest " .. path)
end

--- Copies what a rock is made of, as in a clean checkout.
function rocks.copy_checkout(path)
  process.output_of("mkdir -p " .. path .. " && cp -r CMakeLists.txt cmake src lua bin share docs "
    .. "examples *.md LICENSE *.rockspec " .. path)
end

return rocks
