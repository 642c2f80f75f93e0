# What is installed, below the prefix, by the Lua's version; LuaRocks names its own places.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# As in Lua's own Makefile: where its modules go, in Lua and in C.
function(install_place name default help)
  set(${name} "" CACHE PATH "${help} (default: ${default})")
  if(NOT ${name})
    set(${name} "${default}" PARENT_SCOPE)
  endif()
endfunction()
install_place(CLERK_INSTALL_LMOD "${CMAKE_INSTALL_DATADIR}/lua/${lua_version}"
  "Where the Lua modules go")
install_place(CLERK_INSTALL_CMOD "${CMAKE_INSTALL_LIBDIR}/lua/${lua_version}"
  "Where the C module goes")
install(DIRECTORY lua/clerk DESTINATION "${CLERK_INSTALL_LMOD}" FILES_MATCHING PATTERN "*.lua")
install(TARGETS clerk_module DESTINATION "${CLERK_INSTALL_CMOD}/clerk/machines")

# The command.
install(PROGRAMS bin/clerk-machines TYPE BIN)
install(DIRECTORY share/man/ TYPE MAN)
install(DIRECTORY share/bash-completion share/zsh share/fish TYPE DATA)

# The manual, with the links between its pages.
install(FILES LICENSE README.md CHANGELOG.md SECURITY.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY docs DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING PATTERN "*.md")
install(DIRECTORY examples DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# For C: the libraries and their headers, a CMake package and pkg-config files.
set(headers "${CMAKE_INSTALL_INCLUDEDIR}/clerk-machines")
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/clerk-machines")
install(FILES src/core/clerk.h DESTINATION "${headers}")
install(FILES src/curl/curl.h src/curl/certificates.h src/curl/poller.h src/curl/site.h src/core/clerk_memory.h
  src/core/http_framing.h
  DESTINATION "${headers}/transport")
install(FILES src/crypto/rsa.h src/crypto/sha256.h DESTINATION "${headers}/crypto")
set_target_properties(clerk_core PROPERTIES EXPORT_NAME core)
set_target_properties(clerk_curl PROPERTIES EXPORT_NAME curl)
set_target_properties(clerk_crypto PROPERTIES EXPORT_NAME crypto)
target_include_directories(clerk_core PUBLIC $<INSTALL_INTERFACE:${headers}>)
target_include_directories(clerk_curl PUBLIC $<INSTALL_INTERFACE:${headers}/transport>)
target_include_directories(clerk_crypto PUBLIC $<INSTALL_INTERFACE:${headers}/crypto>)
set(libraries clerk_core clerk_curl clerk_crypto)
if(CLERK_EMBED)
  install(FILES src/lua/clerk_lua.h DESTINATION "${headers}")
  set_target_properties(clerk_machines PROPERTIES EXPORT_NAME machines)
  target_include_directories(clerk_machines INTERFACE $<INSTALL_INTERFACE:${headers}>)
  list(APPEND libraries clerk_machines)
endif()
install(TARGETS ${libraries} EXPORT clerk-machines ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
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
function(install_pkg_config name library description requires libs cflags)
  configure_file(cmake/pkg-config.in ${name}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()
install_pkg_config(clerk-core clerk_core "Clerk machines without Lua and without I/O"
  "libcjson" "-lm" "")
install_pkg_config(clerk-curl clerk_curl "The libcurl transport of Clerk machines, without Lua"
  "clerk-core libcurl" "-pthread" " -I\${includedir}/transport")
install_pkg_config(clerk-crypto clerk_crypto "Signatures of machines' tokens, without Lua"
  "clerk-core libcrypto" "" " -I\${includedir}/crypto")
if(CLERK_EMBED)
  install_pkg_config(clerk-machines clerk_machines
    "Clerk machines for a host's ${lua_name}, the Lua sources included"
    "libcurl libcjson libcrypto" "-lm -pthread" "")
endif()
