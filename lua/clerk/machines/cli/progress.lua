--- What a command reports while it runs: every attempt and wait with `--verbose`; else, on a
--- terminal, how far a list is and what it waits for.

local terminal = require "clerk.machines.cli.terminal"

local progress = {}

local function outcome(event)
  return event.status or event.code or "paused"
end

-- ---------------------------------------------------------------- every attempt

local lines = {}

function lines.attempt(event)
  return ("attempt %d: %s %s"):format(event.attempt, event.method, event.url)
end

function lines.answer(event, attempt_ms)
  local size = event.bytes and (", %d bytes"):format(event.bytes) or ""
  return ("attempt %d: %s in %d ms%s"):format(event.attempt, outcome(event), attempt_ms, size)
end

function lines.wait(event)
  return ("%s: waiting %d ms"):format(outcome(event), event.wait_ms)
end

--- Reports every attempt and every wait.
---@return fun(event: clerk.machines.Event)
function progress.verbose()
  local attempt_began = 0
  return function(event)
    if event.type == "attempt" then
      attempt_began = event.elapsed_ms
    end
    local line = lines[event.type]
    if line then
      terminal.note(event.operation .. " " .. line(event, event.elapsed_ms - attempt_began))
    end
  end
end

-- ---------------------------------------------------------------- the status line

--- Shows how far a list is, or the wait, in the status line.
---@return fun(event: clerk.machines.Event)
function progress.brief()
  local page
  local shown = {
    attempt = function()
      return page
    end,
    page = function(event)
      local count, total = event.machines, event.total_count or 0
      page = count < total and ("%d of %.0f machines"):format(count, total) or nil
      return page
    end,
    wait = function(event)
      return ("%s: next attempt in %.0f s"):format(outcome(event), math.ceil(event.wait_ms / 1000))
    end,
    ["end"] = function()
      return page
    end,
  }
  return function(event)
    if shown[event.type] then
      terminal.show_status(shown[event.type](event))
    end
  end
end

return progress
