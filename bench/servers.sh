# For the scripts that start nginx: a directory of their own, $directory, and `start`. They end with it.

directory=$(mktemp -d)
children=()
stop() {
  kill "${children[@]}" 2>/dev/null || true
  wait "${children[@]}" 2>/dev/null || true
  rm -rf "$directory"
}
trap stop EXIT

# Unpacked, not installed: Debian would start it.
root=
for unpacked in "$PWD/build/nginx" "$PWD/build/bench/nginx"; do
  [ -n "$root" ] || ! [ -x "$unpacked/usr/sbin/nginx" ] || root=$unpacked
done
modules=$root/usr/lib/nginx/modules

# start DIRECTORY [COMMAND...]: nginx, with the nginx.conf there, by a command such as taskset
start() {
  "${@:2}" "$root/usr/sbin/nginx" -e stderr -p "$1" -c nginx.conf &
  children+=($!)
  until [ -s "$1/nginx.pid" ]; do
    kill -0 $! 2>/dev/null || { echo "nginx did not start" >&2; exit 1; }
    sleep 0.05
  done
}

# need_lua_module NAME: ends the script where nginx has no Lua
need_lua_module() {
  [ -e "$modules/ngx_http_lua_module.so" ] && return
  echo "$1: not measured: needs nginx's Lua module, which examples/setup test installs"
  exit
}

unset LUA_PATH_5_4 LUA_CPATH_5_4
export LUA_PATH="bench/?.lua;lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/bench/lua5.4/?.so;;"
