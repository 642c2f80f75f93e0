--- Secret keys in a directory: for each machine a file, named by its ID, that only its owner can
--- read. A file is replaced whole. While there is also a mark, the file counts as missing: a key
--- was about to change when the program ended.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"

---@class clerk.machines.plan.Secrets
---@field directory string
local Secrets = {}
Secrets.__index = Secrets

local secrets = {}

local MARK = ".new"
local PROBE = ".clerk-machines"

local function expect(ok, problem)
  if not ok then
    errors.refuse("cannot write a secret key: " .. problem)
  end
end

--- Raises an ArgumentError when the directory cannot be written.
---@param directory string it must exist
---@return clerk.machines.plan.Secrets
function secrets.open(directory)
  local self = setmetatable({ directory = directory }, Secrets)
  local probe = directory .. "/" .. PROBE
  expect(core.write_private(probe, ""))
  os.remove(probe)
  return self
end

--- An ID comes from elsewhere, and must not lead out of the directory.
local function check_name(id)
  return id:find "^[%w_-]+$" and id
    or errors.refuse(("cannot write a secret key: the ID %q cannot be a file's name"):format(id))
end

local function path_of(self, id)
  return self.directory .. "/" .. check_name(id)
end

--- The mark, which becomes the file.
local function mark_of(self, id)
  return self.directory .. "/." .. check_name(id) .. MARK
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

--- Whether the key of a machine is there, and not about to change.
---@param id string
---@return boolean
function Secrets:has(id)
  return exists(path_of(self, id)) and not exists(mark_of(self, id))
end

--- To be called before a key changes: until it is written, it counts as missing.
---@param id string
function Secrets:mark(id)
  expect(core.write_private(mark_of(self, id), ""))
end

--- The key has not changed.
---@param id string
function Secrets:unmark(id)
  os.remove(mark_of(self, id))
end

--- Replaces the file; when this returns, it is on the disk.
---@param id string
---@param secret string
function Secrets:write(id, secret)
  local mark = mark_of(self, id)
  expect(core.write_private(mark, secret .. "\n"))
  expect(os.rename(mark, path_of(self, id)))
  expect(core.sync_directory(self.directory))
end

return secrets
