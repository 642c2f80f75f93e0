--- Lets a libuv loop, luv's or Neovim's, step clients.

local host = require "clerk.machines.adapters.host"

local libuv = {}

--- Makes the host of a Lua state: libuv can watch a descriptor only once.
---@param uv table luv's functions
---@param schedule fun(step: function) calls `step`, at once or soon
---@return clerk.machines.Host
function libuv.new(uv, schedule)
  local timer, poll = uv.new_timer(), nil

  local function rest()
    timer:stop()
    poll:stop()
  end

  local function due()
    rest() -- until the step, after which the host watches again
    schedule(host.step)
  end

  return host.new(function(fd, ms)
    poll = poll or assert(uv.new_poll(fd))
    if not poll:is_active() then
      poll:start("r", due)
    end
    if ms then
      timer:start(math.max(ms, 1), 0, due) -- not 0: the loop's own work comes first
    else
      timer:stop()
    end
  end, function()
    if poll then
      rest()
    end
  end)
end

return libuv
