-- For each option that is a group, including nested groups: the sorted names of its members.

local options = require "clerk.machines.options"

local groups = {}

local function note(rows)
  for _, row in ipairs(rows) do
    if row.members then
      groups[row.name] = {}
      for i, member in ipairs(row.members) do groups[row.name][i] = member.name end
      table.sort(groups[row.name])
      note(row.members)
    end
  end
end

note(options.rows)

return groups
