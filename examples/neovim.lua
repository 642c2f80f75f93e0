-- Calls in Neovim: they run while the editor stays responsive. From the checkout, built for luajit,
-- with the key of an instance in CLERK_SECRET_KEY:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" \
--     nvim --headless --clean -c "luafile examples/neovim.lua"
--
-- It deletes the machines that it makes.

-- luacheck: read globals vim

local machines = require "clerk.machines"

local client = machines.new()
require("clerk.machines.adapters.neovim").attach(client)

-- Neovim's own work.
local ticks = 0
vim.loop.new_timer():start(10, 10, function()
  ticks = ticks + 1
end)

local function visit(name)
  local machine = client:create { name = name }
  local found = client:get(machine.id)
  client:delete(machine.id)
  local line = ("%s visited at tick %d"):format(found.name, ticks)
  vim.api.nvim_buf_set_lines(0, -1, -1, true, { line })
end

local tasks = {}

--- Waits for all visits, prints the buffer and quits.
local function finish()
  for _, task in ipairs(tasks) do
    local ok, problem = pcall(task.result, task)
    if not ok then
      io.stderr:write(tostring(problem), "\n")
      vim.cmd "cquit"
    end
  end
  io.write(table.concat(vim.api.nvim_buf_get_lines(0, 1, -1, true), "\n"), "\n")
  vim.cmd "qall!"
end

for i, name in ipairs { "gateway", "worker", "reporter" } do
  tasks[i] = client:spawn(visit, name)
end
vim.defer_fn(function() -- any callback may start a task
  tasks[#tasks + 1] = client:spawn(visit, "latecomer")
  client:spawn(finish)
end, 1000)
