# find_package(clerk-machines): the targets clerk::core, the core without Lua; clerk::curl, the
# libcurl transport; clerk::crypto, signatures of tokens; and, when built with CLERK_EMBED,
# clerk::machines, the Lua module for a host that brings its Lua.

include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(PkgConfig)

pkg_check_modules(CURL QUIET IMPORTED_TARGET libcurl)
pkg_check_modules(CJSON QUIET IMPORTED_TARGET libcjson)
pkg_check_modules(CRYPTO QUIET IMPORTED_TARGET libcrypto)
if(CURL_FOUND AND CJSON_FOUND AND CRYPTO_FOUND)
  include("${CMAKE_CURRENT_LIST_DIR}/clerk-machines-targets.cmake")
else()
  set(clerk-machines_FOUND FALSE)
  set(clerk-machines_NOT_FOUND_MESSAGE "libcurl, libcjson and libcrypto are needed")
endif()
