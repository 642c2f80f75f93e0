--- Reads LuaLS annotations of classes and methods from Lua sources, in which empty lines separate
--- the paragraphs.

local annotations = {}

--- Splits what follows a name into type and description. A type may hold spaces in brackets.
local function split_type(text)
  local function hide_spaces(part)
    return (part:gsub(" ", "\1"))
  end
  for _, pattern in ipairs { "%b()", "%b<>", "%b{}", "%): " } do
    text = text:gsub(pattern, hide_spaces)
  end
  local kind, description = text:match "^(%S+) ?(.*)$"
  return kind:gsub("\1", " "), (description:gsub("\1", " "))
end

local function paragraphs(text)
  return (text .. "\n"):gmatch "(.-\n)\n+"
end

--- The sentences of a comment, without its annotations.
local function sentences(comment)
  local lines = {}
  for line in comment:gmatch "%-%-%- ?([^@\n][^\n]*)" do
    lines[#lines + 1] = line
  end
  return table.concat(lines, " ")
end

--- What a comment says of its fields, or of its parameters.
local function entries(comment, tag)
  local list = {}
  for name, mark, rest in comment:gmatch("@" .. tag .. " ([%w_.]+)(%??) ([^\n]+)") do
    local kind, description = split_type(rest)
    local without_mark = kind:match "^(.*)%?$"
    list[#list + 1] = {
      name = name,
      is_optional = mark == "?" or without_mark ~= nil,
      type = without_mark or kind,
      description = description,
    }
  end
  return list
end

local function returns(comment)
  local list = {}
  for rest in comment:gmatch "@return ([^\n]+)" do
    local kind, described = split_type(rest)
    local name, description = described:match "^(%S*) ?(.*)$"
    list[#list + 1] = { name = name, type = kind, description = description }
  end
  return list
end

--- The class of that name: its sentences and its fields, inherited ones first.
---@param text string
---@param name string without "clerk.machines."
---@return { summary: string, fields: table[] }
function annotations.class(text, name)
  local start = "%-%-%-@class clerk%.machines%." .. name:gsub("%.", "%%.") .. "%f[:\n]:?([^\n]*)\n"
  for comment in paragraphs(text) do
    local parent = comment:match(start)
    if parent and comment:find "@field" then
      parent = parent:match "clerk%.machines%.([%w.]+)"
      local fields = parent and annotations.class(text, parent).fields or {}
      for _, field in ipairs(entries(comment, "field")) do
        fields[#fields + 1] = field
      end
      return { summary = sentences(comment), fields = fields }
    end
  end
  error("no class " .. name)
end

--- The methods of a class in order, each once, and by name.
---@param text string
---@param class string the name of the local variable that holds it
---@return table[] methods name, arguments as written, summary, parameters, returns
function annotations.methods(text, class)
  local methods = {}
  for paragraph in paragraphs(text) do
    local comment, name, arguments =
      paragraph:match("^(%-%-%-.-\n)function " .. class .. ":([%w_]+)(%b())")
    if name and not methods[name] then
      methods[name] = {
        name = name,
        arguments = arguments,
        comment = comment,
        summary = sentences(comment),
        parameters = entries(comment, "param"),
        returns = returns(comment),
      }
      methods[#methods + 1] = methods[name]
    end
  end
  return methods
end

return annotations
