# What must be there: each is found, or one line says what to install.

find_package(PkgConfig QUIET)

# Finds a pkg-config module as the imported target PkgConfig::PREFIX.
function(require_package prefix module what debian)
  if(NOT PKG_CONFIG_FOUND)
    message(FATAL_ERROR " pkg-config is missing (Debian: apt-get install pkg-config)")
  endif()
  pkg_check_modules(${prefix} QUIET IMPORTED_TARGET "${module}")
  if(NOT ${prefix}_FOUND)
    message(FATAL_ERROR " ${what} is missing (Debian: apt-get install ${debian})")
  endif()
  set(${prefix}_INCLUDE_DIRS "${${prefix}_INCLUDE_DIRS}" PARENT_SCOPE)
  set(${prefix}_INCLUDEDIR "${${prefix}_INCLUDEDIR}" PARENT_SCOPE)
endfunction()

# Where the headers of LUA are. pkg-config leaves out directories that compilers search anyway.
function(find_lua)
  set(debian "lib${LUA}-dev")
  if(NOT LUA MATCHES "^lua5\\.[2-5]$")
    set(debian "liblua5.4-dev, or for LuaJIT libluajit-5.1-dev")
  endif()
  require_package(LUA_HEADERS "${LUA}" "the Lua that pkg-config calls \"${LUA}\"" "${debian}")
  set(lua_include_dir "${LUA_HEADERS_INCLUDEDIR}" PARENT_SCOPE)
  foreach(directory IN LISTS LUA_HEADERS_INCLUDE_DIRS)
    if(EXISTS "${directory}/lua.h")
      set(lua_include_dir "${directory}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# Sets lua_include_dir, lua_version (of the places where Lua looks for modules) and lua_name.
function(require_lua)
  set(lua_include_dir "${LUA_INCLUDE_DIR}")
  if(NOT lua_include_dir)
    find_lua()
  endif()
  if(NOT EXISTS "${lua_include_dir}/lua.h")
    message(FATAL_ERROR " there is no lua.h in ${lua_include_dir} (set LUA or LUA_INCLUDE_DIR)")
  endif()
  # Up to 5.4: LUA_VERSION_NUM 504; since 5.5: LUA_VERSION_MAJOR_N 5, LUA_VERSION_MINOR_N 5.
  file(STRINGS "${lua_include_dir}/lua.h" numbers
    REGEX "define LUA_VERSION_(NUM|M[A-Z]+_N)[ \t]+[0-9]")
  string(REGEX REPLACE "[^0-9]" "" digits "${numbers}")
  string(REGEX REPLACE "^(.)0?(.)$" "\\1.\\2" version "${digits}")
  set(name "Lua ${version}")
  if(version STREQUAL "5.1" AND EXISTS "${lua_include_dir}/luajit.h")
    set(name LuaJIT)
  elseif(NOT version MATCHES "^5\\.[2-5]$")
    message(FATAL_ERROR
      " ${lua_include_dir}/lua.h is of Lua ${version}; needed is Lua 5.2 to 5.5 or LuaJIT 2.1")
  endif()
  set(lua_include_dir "${lua_include_dir}" PARENT_SCOPE)
  set(lua_version "${version}" PARENT_SCOPE)
  set(lua_name "${name}" PARENT_SCOPE)
endfunction()
