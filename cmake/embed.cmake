# For hosts (CLERK_EMBED): libclerk_machines.a, the Lua module with its sources and all below it.

# All modules but the tools: what scripts require, and what that requires.
set(lua_root "${CMAKE_CURRENT_SOURCE_DIR}/lua")
file(GLOB_RECURSE lua_files RELATIVE "${lua_root}" CONFIGURE_DEPENDS "${lua_root}/*.lua")
list(FILTER lua_files EXCLUDE REGEX "/types\\.lua$|/(cli|emulator)/")
set(lua_paths "${lua_files}")
list(TRANSFORM lua_paths PREPEND "${lua_root}/")

set(embedded "${CMAKE_CURRENT_BINARY_DIR}/lua_sources.c")
set(writer "${CMAKE_CURRENT_LIST_DIR}/lua_sources.cmake")
add_custom_command(OUTPUT "${embedded}" VERBATIM
  COMMAND "${CMAKE_COMMAND}" "-DROOT=${lua_root}" "-DFILES=${lua_files}" "-DOUTPUT=${embedded}"
    -P "${writer}"
  DEPENDS ${lua_paths} "${writer}")

add_library(clerk_machines STATIC src/lua/embed.c "${embedded}" ${lua_sources}
  $<TARGET_OBJECTS:clerk_curl> $<TARGET_OBJECTS:clerk_crypto> $<TARGET_OBJECTS:clerk_core>)
add_library(clerk::machines ALIAS clerk_machines)
target_include_directories(clerk_machines PRIVATE src/core src/curl src/crypto src/lua
  INTERFACE $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/src/lua>)
target_include_directories(clerk_machines SYSTEM PRIVATE "${lua_include_dir}")
target_link_libraries(clerk_machines PRIVATE PkgConfig::CURL PkgConfig::CJSON PkgConfig::CRYPTO
  Threads::Threads m)
set_target_properties(clerk_machines PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
