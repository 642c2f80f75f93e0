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

--- Makes the host of a loop: a coroutine steps the clients, and ends when they have no tasks left.
local function new_host(loop)
  local changed, polled, is_stepping = condition.new(), nil, false

  local function run()
    while polled do
      cqueues.poll(polled, changed)
      host.step()
    end
    is_stepping = false
  end

  return host.new(function(fd, ms)
    polled = { pollfd = fd, events = "r", timeout = ms and ms / 1000 }
    changed:signal()
    if not is_stepping then
      is_stepping = true
      loop:wrap(run)
    end
  end, function()
    polled = nil
    changed:signal()
  end)
end

---@class clerk.machines.CqueuesAttachment: clerk.machines.Attachment
---@field await fun(self: table, task: clerk.machines.Task|clerk.machines.SafeTask): any

--- For a coroutine of the loop: waits until the task has ended, while other coroutines go on.
--- Returns the task's results, or raises its error.
local function await(_, task)
  if type(task) ~= "table" or not task.status then
    errors.refuse(("await needs a task, got %s"):format(type(task)))
  end
  local ended = condition.new()
  task:on_done(function()
    ended:signal()
  end)
  while task.status == "running" do
    ended:wait()
  end
  return task:result()
end

local adapter = {}

--- Has a loop step the client. The loop runs as long as the client has unfinished tasks, and does
--- not wait for it otherwise. A task's error stays with the task.
---@param client clerk.machines.Client|clerk.machines.SafeClient kept until it is detached or closed
---@param loop? userdata default: the loop that runs
---@return clerk.machines.CqueuesAttachment attachment `attachment:detach()` undoes this
function adapter.attach(client, loop)
  loop = loop or cqueues.running()
  if cqueues.type(loop) ~= "controller" then
    errors.refuse(("attach needs a loop of cqueues, got %s"):format(type(loop)))
  end
  local attachment = new_host(loop):attach(client)
  attachment.await = await
  return attachment
end

return adapter
