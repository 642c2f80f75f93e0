--- Concurrent requests for one listing: pages are fetched ahead, at the offsets that will be needed
--- if nothing changes. When they are not needed, they are cancelled, and the next request is sent
--- alone; then twice as many each time, up to `concurrency`.

local prefetch = {}

local function cancel_all(pending)
  for offset, task in pairs(pending) do
    pending[offset] = nil
    task:cancel()
  end
end

---@param listing clerk.machines.Listing
---@param spawn fun(offset: integer): clerk.machines.Task a request
---@param concurrency integer
---@return fun(offset: integer): clerk.machines.MachineList fetch
---@return fun() cancel what is still pending
function prefetch.new(listing, spawn, concurrency)
  local pending, count = {}, concurrency -- the tasks by their offsets

  local function fetch(offset)
    if next(pending) and not pending[offset] then
      cancel_all(pending)
      count = 1
    else
      count = math.min(2 * count, concurrency)
    end
    for _, ahead in ipairs(listing:next_offsets(count)) do
      pending[ahead] = pending[ahead] or spawn(ahead)
    end
    local list = pending[offset]:result()
    pending[offset] = nil
    return list
  end

  return fetch, function()
    cancel_all(pending)
  end
end

return prefetch
