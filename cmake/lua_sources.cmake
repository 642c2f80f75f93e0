# Writes Lua modules as a C file, for src/lua/embed.h:
#
#   cmake -DROOT=lua "-DFILES=clerk/machines/init.lua;…" -DOUTPUT=sources.c -P lua_sources.cmake

set(texts "")
set(rows "")
foreach(file IN LISTS FILES)
  string(REGEX REPLACE "(/init)?\\.lua$" "" module "${file}")
  string(MAKE_C_IDENTIFIER "${module}" text)
  string(REPLACE "/" "." module "${module}")
  file(READ "${ROOT}/${file}" bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REPLACE "0x0a," "0x0a,\n" bytes "${bytes}") # a line for each of Lua's
  string(APPEND texts "static const unsigned char ${text}[] = {\n${bytes}};\n\n")
  string(APPEND rows "    {\"${module}\", \"@${file}\", ${text}, sizeof ${text}},\n")
endforeach()

file(WRITE "${OUTPUT}" "#include \"embed.h\"\n\n${texts}"
  "const clerk_lua_source clerk_lua_sources[] = {\n${rows}    {0}};\n")
