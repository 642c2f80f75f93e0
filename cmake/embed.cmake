# For hosts (EMBED): libclerk_machines.a, which is the Lua module with its sources and all below it,
# and libclerk_core.a, which is the core; headers, a CMake package and pkg-config files.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# Link-time optimization leaves objects that only the same compiler can read.
set_target_properties(clerk_core clerk_curl core PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)

# All modules but the tools: what scripts require, and what that requires.
set(lua_root "${CMAKE_CURRENT_SOURCE_DIR}/lua")
file(GLOB_RECURSE lua_files RELATIVE "${lua_root}" CONFIGURE_DEPENDS "${lua_root}/*.lua")
list(FILTER lua_files EXCLUDE REGEX "/types\\.lua$|/(cli|emulator)/")
set(lua_paths "${lua_files}")
list(TRANSFORM lua_paths PREPEND "${lua_root}/")

set(lua_sources "${CMAKE_CURRENT_BINARY_DIR}/lua_sources.c")
set(writer "${CMAKE_CURRENT_LIST_DIR}/lua_sources.cmake")
add_custom_command(OUTPUT "${lua_sources}" VERBATIM
  COMMAND "${CMAKE_COMMAND}" "-DROOT=${lua_root}" "-DFILES=${lua_files}" "-DOUTPUT=${lua_sources}"
    -P "${writer}"
  DEPENDS ${lua_paths} "${writer}")

add_library(clerk_machines STATIC src/lua/embed.c "${lua_sources}"
  $<TARGET_OBJECTS:core> $<TARGET_OBJECTS:clerk_curl> $<TARGET_OBJECTS:clerk_core>)
target_include_directories(clerk_machines PRIVATE src/lua)
target_include_directories(clerk_machines SYSTEM PRIVATE ${LUA_HEADERS_INCLUDE_DIRS})
target_link_libraries(clerk_machines PRIVATE PkgConfig::CURL PkgConfig::CJSON Threads::Threads m)
set_target_properties(clerk_machines PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF
  EXPORT_NAME machines)
set_target_properties(clerk_core PROPERTIES EXPORT_NAME core)

set(headers "${CMAKE_INSTALL_INCLUDEDIR}/clerk-machines")
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/clerk-machines")
install(FILES src/core/clerk.h src/lua/clerk_lua.h DESTINATION "${headers}")
install(TARGETS clerk_machines clerk_core EXPORT clerk-machines
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" INCLUDES DESTINATION "${headers}")
install(EXPORT clerk-machines NAMESPACE clerk:: FILE clerk-machines-targets.cmake
  DESTINATION "${package}")
write_basic_package_version_file(
  "${CMAKE_CURRENT_BINARY_DIR}/clerk-machines-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES cmake/clerk-machines-config.cmake
    "${CMAKE_CURRENT_BINARY_DIR}/clerk-machines-config-version.cmake"
  DESTINATION "${package}")

# There is no shared library of these, so what they need is always linked: it is not private.
file(RELATIVE_PATH to_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
function(install_pkg_config name library description requires libs)
  configure_file(cmake/pkg-config.in ${name}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()
install_pkg_config(clerk-machines clerk_machines
  "Clerk machines for a host's ${LUA}, the Lua sources included" "libcurl libcjson" "-lm -pthread")
install_pkg_config(clerk-core clerk_core
  "Clerk machines without Lua and without I/O" "libcjson" "-lm")
