--- What the adapters share: the clients that are attached to a host's event loop, and when that
--- loop has to step them. An adapter supplies only `watch` and `rest`.

local clients = require "clerk.machines.client"
local errors = require "clerk.machines.errors"
local scheduler = require "clerk.machines.loop.scheduler"

local host = {}

--- Returned by every adapter's `attach`.
---@class clerk.machines.Attachment
local Attachment = {}
Attachment.__index = Attachment

---@class clerk.machines.Host
local Host = {}
Host.__index = Host

--- The hosts that have clients attached: usually one.
local hosts = {}

--- Whether any client has unfinished tasks. Closed clients leave, once their tasks have ended.
local function is_busy(self)
  local is_any_busy = false
  for client in pairs(self.clients) do
    if clients.is_busy(client) then
      is_any_busy = true
    elseif clients.is_closed(client) then
      self.clients[client] = nil
    end
  end
  return is_any_busy
end

local function update(self)
  if is_busy(self) then
    self.watch(scheduler.pollable())
  else
    self.rest()
  end
  hosts[self] = next(self.clients) and true or nil
end

local function update_all()
  for each in pairs(hosts) do
    update(each)
  end
end

--- A step of any client moves the tasks of all clients.
function host.step()
  scheduler.step(0)
end

--- Makes a host without clients.
---@param watch fun(fd: integer, ms: integer|nil) have `host.step` called when the descriptor is
--- readable and, unless `ms` is nil, after `ms` milliseconds; replaces any earlier `watch`
---@param rest fun() there is nothing to wait for: let the host's loop end
---@return clerk.machines.Host
function host.new(watch, rest)
  return setmetatable({ watch = watch, rest = rest, clients = {} }, Host)
end

---@param client clerk.machines.Client|clerk.machines.SafeClient
---@return clerk.machines.Attachment
function Host:attach(client)
  local inner = clients.unwrap(client)
  if getmetatable(inner) ~= clients.Client then
    errors.refuse(("attach needs a client, got %s"):format(type(client)))
  end
  inner:pollable() -- refuses a closed client, and a system without epoll
  self.clients[inner] = true
  scheduler.on_change(update_all)
  update(self)
  return setmetatable({ host = self, client = inner }, Attachment)
end

--- Detaches the client: the loop no longer steps it. Its unfinished tasks stay, and go on when the
--- client is attached or stepped again. Closing a client detaches it too.
function Attachment:detach()
  self.host.clients[self.client] = nil
  update(self.host)
end

return host
