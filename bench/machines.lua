--- The machines of the fixture, the newest first, each scoped to some of the first 500.

local machines = {}

local SCOPED = 500

--- Spreads the bits of i over the letters, as random IDs have them.
local function letters(i, length)
  local text, state = {}, i
  for position = 1, length do
    state = (state * 1103515245 + 12345) % 2 ^ 31
    local letter = math.floor(state / 65536) % 26
    text[position] = string.char((position % 2 == 0 and 65 or 97) + letter)
  end
  return table.concat(text)
end

function machines.id(i)
  return "mch_" .. letters(i, 27)
end

function machines.name(i)
  return ("worker %03d-%s"):format(i, letters(i, 3))
end

local function new_fields(i)
  local created_at = 1760000000000 - i * 86400123
  return ('"object":"machine","id":"%s","name":"%s","instance_id":"%s",'
    .. '"created_at":%.0f,"updated_at":%.0f,"default_token_ttl":3600')
    :format(machines.id(i), machines.name(i), "ins_" .. letters(0, 27), created_at,
      created_at + i * 1009)
end

local made = {}

local function fields(i)
  made[i] = made[i] or new_fields(i)
  return made[i]
end

--- The JSON of machine i with that many scopes.
function machines.json(i, scopes)
  local scoped = {}
  for scope = 1, scopes do
    scoped[scope] = "{" .. fields((i + scope * 7) % SCOPED + 1) .. "}"
  end
  return ('{%s,"scoped_machines":[%s]}'):format(fields(i), table.concat(scoped, ","))
end

--- The JSON of a page of machines, from the first to the last of them, of so many.
function machines.page(first, last, count, scopes)
  local page = {}
  for i = first, last do
    table.insert(page, machines.json(i, scopes))
  end
  return ('{"data":[%s],"total_count":%d}'):format(table.concat(page, ","), count)
end

return machines
