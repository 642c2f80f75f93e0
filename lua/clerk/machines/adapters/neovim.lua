--- Attaches clients to Neovim's loop, which then steps them while they have tasks:
---
---     require("clerk.machines.adapters.neovim").attach(client)
---     client:spawn(f)
---
--- Tasks may use all of `vim`.

-- luacheck: read globals vim

local libuv = require "clerk.machines.adapters.libuv"

local neovim = {}

-- Scheduled, because callbacks of libuv may not use all of `vim`.
local host = libuv.new(vim.uv or vim.loop, vim.schedule)

--- Has Neovim's loop step the client. A task's error stays with the task: ask `task:result()`.
---@param client clerk.machines.Client|clerk.machines.SafeClient kept until it is detached or closed
---@return clerk.machines.Attachment attachment `attachment:detach()` undoes this
function neovim.attach(client)
  return host:attach(client)
end

return neovim
