-- README.md and the manual in docs/, as specs read them: the pages and their snippets.

local files = require "support.files"
local process = require "support.process"

local documents = {}

--- The paths that a shell pattern matches.
---@param pattern string
---@return string[]
function documents.paths(pattern)
  local list = {}
  for path in process.output_of("ls " .. pattern):gmatch "[^\n]+" do list[#list + 1] = path end
  return list
end

---@class DocumentSnippet
---@field kind string what the fence says, such as "lua"
---@field text string
---@field place string page and line

---@param path string
---@return DocumentSnippet[]
function documents.snippets(path)
  local list, snippet, number = {}, nil, 0
  for line in files.read(path):gmatch "([^\n]*)\n" do
    number = number + 1
    local kind = line:match "^```(%l*)$"
    if kind and snippet then
      snippet = nil
    elseif kind then
      snippet = { kind = kind, text = "", place = path .. ":" .. number }
      list[#list + 1] = snippet
    elseif snippet then
      snippet.text = snippet.text .. line .. "\n"
    end
  end
  return list
end

--- The snippets of one kind on all pages.
---@param kind string
---@return DocumentSnippet[]
function documents.of_kind(kind)
  local list = {}
  for _, path in ipairs(documents.paths "README.md docs/*.md") do
    for _, snippet in ipairs(documents.snippets(path)) do
      if snippet.kind == kind then list[#list + 1] = snippet end
    end
  end
  return list
end

--- The text of the snippet of a page that begins with this.
---@param path string
---@param beginning string
---@return string
function documents.snippet(path, beginning)
  for _, snippet in ipairs(documents.snippets(path)) do
    if snippet.text:sub(1, #beginning) == beginning then return snippet.text end
  end
  error(("no snippet %q in %s"):format(beginning, path), 2)
end

--- A page without its snippets.
---@param path string
---@return string
function documents.prose(path)
  return (("\n" .. files.read(path)):gsub("\n```.-\n```", "\n"))
end

--- The links of a page outside of its snippets, except those to other sites.
---@param path string
---@return string[]
function documents.links(path)
  local list = {}
  for target in documents.prose(path):gmatch "%]%(([^)%s]+)%)" do
    if not target:find "^%a+:" then list[#list + 1] = target end
  end
  return list
end

-- As GitHub makes it: lower case, spaces as dashes, no punctuation.
local function anchor_of(title)
  return (title:lower():gsub("Ö", "ö"):gsub("[^%w%-_ \128-\255]", ""):gsub(" ", "-"))
end

--- The anchors of a page's headings.
---@param path string
---@return table<string, boolean>
function documents.anchors(path)
  local set = {}
  for title in documents.prose(path):gmatch "\n#+ ([^\n]+)" do set[anchor_of(title)] = true end
  return set
end

return documents
