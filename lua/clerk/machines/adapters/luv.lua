--- Attaches clients to luv's loop, which then steps them while they have tasks:
---
---     require("clerk.machines.adapters.luv").attach(client)
---     client:spawn(f)
---     uv.run()

local libuv = require "clerk.machines.adapters.libuv"

local luv = {}

local host = libuv.new(require "luv", function(step)
  step()
end)

--- Has luv's loop step the client. The loop runs as long as the client has unfinished tasks, and
--- does not wait for it otherwise. A task's error stays with the task: ask `task:result()`.
---@param client clerk.machines.Client|clerk.machines.SafeClient kept until it is detached or closed
---@return clerk.machines.Attachment attachment `attachment:detach()` undoes this
function luv.attach(client)
  return host:attach(client)
end

return luv
