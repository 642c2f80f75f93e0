-- Calls under way in Neovim, which goes on meanwhile. From the checkout, built for luajit:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" \
--     nvim --headless --clean -c "luafile examples/neovim.lua"
--
-- with the key in CLERK_SECRET_KEY; it deletes the machines that it makes.

-- luacheck: read globals vim

local machines = require "clerk.machines"
local uv = vim.loop

--- Has Neovim's loop step the client while it has tasks. Call what this returns after each spawn
--- that is not made inside a task. One for each Neovim: a descriptor is watched only once.
local function attach(client)
  local poll, timer = uv.new_poll((client:pollable())), uv.new_timer()
  local step

  local function schedule() -- so that tasks may use all of `vim`
    poll:stop() -- or it would call again and again until then
    vim.schedule(step)
  end

  function step()
    poll:stop()
    timer:stop()
    if client:step(0) > 0 then
      local _, ms = client:pollable()
      poll:start("r", schedule)
      if ms then
        timer:start(ms, 0, schedule)
      end
    end
  end

  return step
end

local client = machines.new()
local step = attach(client)

-- Neovim's own work.
local ticks = 0
uv.new_timer():start(10, 10, function()
  ticks = ticks + 1
end)

local function visit(name)
  local machine = client:create { name = name }
  local found = client:get(machine.id)
  client:delete(machine.id)
  local line = ("%s visited at tick %d"):format(found.name, ticks)
  vim.api.nvim_buf_set_lines(0, -1, -1, true, { line })
end

local visits = {}

--- Waits for all visits, tells what came of them and leaves.
local function finish()
  for _, task in ipairs(visits) do
    local ok, problem = pcall(task.result, task)
    if not ok then
      io.stderr:write(tostring(problem), "\n")
      vim.cmd "cquit"
    end
  end
  io.write(table.concat(vim.api.nvim_buf_get_lines(0, 1, -1, true), "\n"), "\n")
  vim.cmd "qall!"
end

local function spawn(f, ...)
  local task = client:spawn(f, ...)
  step()
  return task
end

for i, name in ipairs { "gateway", "worker", "reporter" } do
  visits[i] = spawn(visit, name)
end
vim.defer_fn(function() -- the client may have had nothing to do for a while
  visits[#visits + 1] = spawn(visit, "latecomer")
  spawn(finish)
end, 1000)
