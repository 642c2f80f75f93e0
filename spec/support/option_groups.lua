-- The names of the members of each option that is a group, and of the groups within, in order.

local options = require "clerk.machines.options"

local groups = {}

local function note(rows)
  for name, row in pairs(rows) do
    if row.members then
      groups[name] = {}
      for member in pairs(row.members) do table.insert(groups[name], member) end
      table.sort(groups[name])
      note(row.members)
    end
  end
end

note(options.rows)

return groups
