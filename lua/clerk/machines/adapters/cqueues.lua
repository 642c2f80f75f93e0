--- Attaches clients to a loop of cqueues, which then steps them while they have tasks:
---
---     local attachment = require("clerk.machines.adapters.cqueues").attach(client, loop)
---     loop:wrap(function()
---       print(attachment:await(client:spawn(f)))
---     end)
---     assert(loop:loop())

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local errors = require "clerk.machines.errors"
local host = require "clerk.machines.adapters.host"

local adapter = {}

---@class clerk.machines.CqueuesAttachment: clerk.machines.Attachment
local Attachment = setmetatable({}, host.Attachment)
Attachment.__index = Attachment

--- Makes the host of a loop: a coroutine steps the clients, and ends when they have no tasks left.
local function new_host(loop)
  local changed = condition.new()
  local polled, seconds, is_stepping

  local function run()
    while polled do
      cqueues.poll(polled, changed, seconds)
      host.step()
    end
    is_stepping = false
  end

  local function watch(fd, ms)
    polled, seconds = { pollfd = fd, events = "r" }, ms and ms / 1000
    changed:signal()
    if not is_stepping then
      is_stepping = true
      loop:wrap(run)
    end
  end

  return host.new(watch, function()
    polled = nil
    changed:signal()
  end), changed
end

local function check_loop(loop)
  if cqueues.type(loop) ~= "controller" then
    errors.refuse(("attach needs a loop of cqueues, got %s"):format(type(loop)))
  end
end

--- Has a loop step the client. The loop runs as long as the client has unfinished tasks, and does
--- not wait for it otherwise. A task's error stays with the task.
---@param client clerk.machines.Client|clerk.machines.SafeClient kept until it is detached or closed
---@param loop? userdata default: the loop that runs
---@return clerk.machines.CqueuesAttachment attachment `attachment:detach()` undoes this
function adapter.attach(client, loop)
  loop = loop or cqueues.running()
  check_loop(loop)
  local new, changed = new_host(loop)
  local attachment = new:attach(client)
  attachment.changed = changed
  return setmetatable(attachment, Attachment)
end

--- For a coroutine of the loop: waits until the task has ended, while other coroutines go on.
--- Returns the task's results, or raises its error.
---@param task clerk.machines.Task|clerk.machines.SafeTask of a client that is attached to the loop
function Attachment:await(task)
  if type(task) ~= "table" or not task.status then
    errors.refuse(("await needs a task, got %s"):format(type(task)))
  end
  while task.status == "running" do
    self.changed:wait()
  end
  return task:result()
end

return adapter
