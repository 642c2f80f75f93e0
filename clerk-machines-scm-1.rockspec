rockspec_format = "3.0"
package = "clerk-machines"
version = "scm-1"
source = { url = "git+https://github.com/clerk-machines/clerk-machines.git" }
description = {
  summary = "Clerk machines, their secret keys and scopes: a client of Clerk's Backend API",
  license = "MIT",
  labels = { "clerk", "http", "api" },
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.1, < 5.5" }
build = {
  type = "cmake",
  variables = {
    LUA_INCLUDE_DIR = "$(LUA_INCDIR)",
    INSTALL_BINDIR = "$(BINDIR)",
    INSTALL_LIBDIR = "$(LIBDIR)",
    INSTALL_LUADIR = "$(LUADIR)",
  },
}
