std = "min" -- what Lua 5.1 to 5.4 have in common, and
read_globals = {
  "jit",
  "newproxy",
  ngx = { other_fields = true, fields = { ctx = { read_only = false, other_fields = true } } },
}
max_line_length = 100
exclude_files = { "build" }
files["spec"] = { std = "max+busted" }
files["bin"] = { std = "max" }
files["lua/clerk/machines/types.lua"] = { unused = false, max_line_length = false }
files["bench"] = { std = "max" }
files["lua/clerk/machines/gate.lua"] = { std = "ngx_lua" }
files["examples/openresty"] = { std = "ngx_lua" }
