/* Files that only their owner can read, for secrets. Lua's own library follows links, leaves the mode
** to the umask, and cannot make sure that what it wrote is on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parts.h"
#include "support.h"

static bool write_all(int fd, clerk_text text) {
  while (text.length > 0) {
    ssize_t written = write(fd, text.bytes, text.length);
    if (written < 0 && errno != EINTR) return false;
    if (written < 0) continue;
    text.bytes += written;
    text.length -= (size_t)written;
  }
  return true;
}

/* Closes the file; returns whether all went well, with the first problem in errno. */
static bool finish(int fd, bool ok) {
  int problem = ok ? 0 : errno;
  if (close(fd) != 0 && ok) return false;
  if (!ok) errno = problem;
  return ok;
}

/* Replaces what is at `path`, a link too, with a new file. */
static bool write_private(const char *path, clerk_text text) {
  if (unlink(path) != 0 && errno != ENOENT) return false;
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  return fd >= 0 && finish(fd, write_all(fd, text) && fsync(fd) == 0);
}

/* core.write_private(path, text) -> true | nil, problem, errno. Makes a new file of mode 0600 whose
** contents are on the disk when this returns; what was at `path` is removed first. After a failure
** there may be a part of the file. */
static int core_write_private(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  return luaL_fileresult(L, write_private(path, clerk_lua_text(L, 2)), path);
}

/* core.sync_directory(path) -> true | nil, problem, errno. What was renamed in it stays renamed. */
static int core_sync_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return luaL_fileresult(L, fd >= 0 && finish(fd, fsync(fd) == 0), path);
}

static const luaL_Reg functions[] = {
    {"write_private", core_write_private}, {"sync_directory", core_sync_directory}, {NULL, NULL}};

void clerk_lua_add_files(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
