/*
** A finished transfer made into a result: the short way against the general one, and the decoder
** against a plain one on the core's reader. The input: a line each for the operation, the status and
** the number of header lines; these lines; the rest is the body.
*/
#include <lauxlib.h>
#include <lualib.h>

#include "fuzz.h"
#include "json.h"
#include "module.h"
#include "transfers.h"

static const char script[] =
    "package.path = 'lua/?.lua;lua/?/init.lua'\n"
    "local core = require 'clerk.machines.core'\n"
    "local errors = require 'clerk.machines.errors'\n"
    "local KEY = 'sk_test_fuzzing'\n"
    "local client = require 'clerk.machines'.new {\n"
    "  secret_key = KEY, machine_secret_key = KEY, base_url = 'http://127.0.0.1/v1',\n"
    "}\n"
    "local VALUES = { string = 'x', secret = 'mt_secret', integer = 1, number = 1, boolean = "
    "true,\n"
    "  json = '{}', token_id = 'mt_1', machine_id = 'mch_1', machine_ids = {} }\n"
    "local function new_call(operation)\n"
    "  local path, params = {}, {}\n"
    "  for _, parameter in ipairs(operation.parameters) do\n"
    "    local value = parameter.values and parameter.values[1] or VALUES[parameter.type]\n"
    "    if parameter.place == 'path' then\n"
    "      table.insert(path, value)\n"
    "    elseif parameter.required then\n"
    "      params[parameter.name] = value\n"
    "    end\n"
    "  end\n"
    "  return assert(core.call(operation.name, client.settings.prepared, 0, params,\n"
    "    table.unpack(path)))\n"
    "end\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    return a == b and math.type(a) == math.type(b)\n"
    "  end\n"
    "  for name, value in next, a do\n"
    "    if not same(value, rawget(b, name)) then return false end\n"
    "  end\n"
    "  for name in next, b do\n"
    "    if rawget(a, name) == nil then return false end\n"
    "  end\n"
    "  return getmetatable(a) == getmetatable(b)\n"
    "end\n"
    "local function check_headers(headers, expected)\n"
    "  assert(same(headers, errors.without(expected, { KEY })))\n"
    "  for name, value in pairs(headers) do\n"
    "    assert(not (name .. '\\n' .. value):find(KEY, 1, true))\n"
    "  end\n"
    "end\n"
    "function check(index, first, second)\n"
    "  local operation = core.operations[index]\n"
    "  local value, meta = core.take_success(first, new_call(operation), KEY)\n"
    "  local response = second:take()\n"
    "  local verdict = new_call(operation):receive(response, nil, 0, 0)\n"
    "  assert((meta ~= nil) == (verdict.outcome == 'done'))\n"
    "  if not meta then return end\n"
    "  assert(same(value, verdict.value))\n"
    "  assert(meta.status == response.status and meta.attempts == 1 and not meta.header)\n"
    "  check_headers(meta.headers, response.headers)\n"
    "  assert(rawget(meta, 'headers') == meta.headers and not getmetatable(meta))\n"
    "end\n"
    "function compare(decoded, plain) assert(same(decoded, plain)) end\n";

static lua_State *open_lua(void) {
  lua_State *L = luaL_newstate();
  assert(L);
  luaL_openlibs(L);
  luaL_requiref(L, "clerk.machines.core", luaopen_clerk_machines_core, 0);
  if (luaL_dostring(L, script) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  lua_settop(L, 0);
  return L;
}

/* ------------------------------------------------------------------ the plain decoder */

static void push_text(lua_State *L, const clerk_reader *reader) {
  char *out = malloc(reader->string.length + 1);
  assert(out);
  lua_pushlstring(L, out, clerk_reader_unescape(reader, out));
  free(out);
}

/* NOLINTBEGIN(misc-no-recursion): no deeper than the reader goes, CLERK_DEPTH_MAX */
static void push_plain(lua_State *L, clerk_reader *reader, clerk_json_token token, bool is_member);

static void push_table(lua_State *L, clerk_reader *reader, bool is_object) {
  clerk_json_token token;
  luaL_checkstack(L, 4, "plain");
  lua_newtable(L);
  for (int i = 1; (token = clerk_reader_next(reader)) != CLERK_JSON_ARRAY_END &&
                  token != CLERK_JSON_OBJECT_END;
       i++) {
    if (is_object) {
      push_text(L, reader);
      token = clerk_reader_next(reader);
    }
    push_plain(L, reader, token, is_object);
    if (is_object)
      lua_rawset(L, -3);
    else
      lua_rawseti(L, -2, i);
  }
}

static void push_plain(lua_State *L, clerk_reader *reader, clerk_json_token token, bool is_member) {
  switch (token) {
    case CLERK_JSON_NULL:
      if (is_member)
        lua_pushnil(L);
      else
        lua_pushlightuserdata(L, NULL);
      return;
    case CLERK_JSON_FALSE: lua_pushboolean(L, 0); return;
    case CLERK_JSON_TRUE: lua_pushboolean(L, 1); return;
    case CLERK_JSON_INTEGER: lua_pushinteger(L, reader->integer); return;
    case CLERK_JSON_FLOAT: lua_pushnumber(L, reader->number); return;
    case CLERK_JSON_STRING: push_text(L, reader); return;
    case CLERK_JSON_ARRAY: push_table(L, reader, false); return;
    case CLERK_JSON_OBJECT: push_table(L, reader, true); return;
    default: abort();
  }
}
/* NOLINTEND(misc-no-recursion) */

static bool is_document(clerk_text body) {
  return clerk_shape_of(&clerk_operations[0], body).is_complete;
}

static void check_decoding(lua_State *L, clerk_text body) {
  const clerk_lua_decoding decoding = {0};
  clerk_reader reader;
  clerk_reader_init(&reader, body);
  lua_getglobal(L, "compare");
  bool is_decoded = clerk_lua_decode(L, &reader, &decoding, NULL);
  assert(is_decoded == is_document(body));
  if (!is_decoded) return;
  clerk_reader_init(&reader, body);
  push_plain(L, &reader, clerk_reader_next(&reader), false);
  lua_call(L, 2, 0);
}

/* ------------------------------------------------------------------ transfers */

static void push_transfer(lua_State *L, int status, clerk_text head, clerk_text body) {
  clerk_transfer *transfer = clerk_lua_new_transfer(L);
  transfer->is_finished = transfer->has_response = true;
  transfer->status = status;
  assert(clerk_buffer_append(&transfer->head, head.bytes, head.length));
  assert(clerk_buffer_append(&transfer->body, body.bytes, body.length));
}

static clerk_text read_head(fuzz_input *input) {
  long count = strtol(fuzz_line(input).bytes, NULL, 10);
  const char *head = input->at;
  for (long i = 0; i < count && input->left > 0; i++) {
    const char *end = memchr(input->at, '\n', input->left);
    size_t length = end ? (size_t)(end - input->at) + 1 : input->left;
    input->at += length;
    input->left -= length;
  }
  return (clerk_text){head, (size_t)(input->at - head)};
}

static void check(lua_State *L, fuzz_input *input) {
  const clerk_operation *operation = fuzz_operation(fuzz_line(input).bytes);
  int status = 100 + (int)(strtoul(fuzz_line(input).bytes, NULL, 10) % 900);
  clerk_text head = read_head(input), body = fuzz_rest(input);
  check_decoding(L, body);
  lua_settop(L, 0);
  lua_getglobal(L, "check");
  lua_pushinteger(L, operation - clerk_operations + 1);
  push_transfer(L, status, head, body);
  push_transfer(L, status, head, body);
  lua_call(L, 3, 0);
}

static int protected_check(lua_State *L) {
  check(L, lua_touserdata(L, 1));
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  if (!L) L = open_lua();
  fuzz_input input = fuzz_open(data, size);
  lua_settop(L, 0);
  lua_pushcfunction(L, protected_check);
  lua_pushlightuserdata(L, &input);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  fuzz_close(&input);
  return 0;
}
