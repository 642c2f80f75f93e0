--- What a command reports while it runs: every attempt and wait with `--verbose`; else, on a
--- terminal, how far it is and what it waits for; elsewhere, that it waits.

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

--- Reports every attempt and every wait. Calls may overlap, and each has its own clock.
---@return fun(event: clerk.machines.Event)
function progress.verbose()
  local attempt_began = {}
  return function(event)
    if event.type == "attempt" then
      attempt_began[event.call] = event.elapsed_ms
    elseif event.type == "end" then
      attempt_began[event.call] = nil
    end
    local line = lines[event.type]
    if line then
      local attempt_ms = event.elapsed_ms - (attempt_began[event.call] or 0)
      terminal.note(event.operation .. " " .. line(event, attempt_ms))
    end
  end
end

-- ---------------------------------------------------------------- the status line

local position -- how far the command is, shown while it does not wait

--- Shows how far the command is, until it is something else or, by nil, removed.
---@param line string|nil
function progress.show(line)
  position = line
  terminal.show_status(line)
end

local shown = {}

function shown.attempt()
  return position
end

function shown.page(event)
  local count, total = event.machines, event.total_count or 0
  position = count < total and ("%d of %.0f machines"):format(count, total) or nil
  return position
end

function shown.wait(event)
  return ("%s: next attempt in %.0f s"):format(outcome(event), math.ceil(event.wait_ms / 1000))
end

shown["end"] = shown.attempt

--- Shows in the status line how far the command is, or what it waits for.
---@param event clerk.machines.Event
function progress.brief(event)
  if shown[event.type] then
    terminal.show_status(shown[event.type](event))
  end
end

-- ---------------------------------------------------------------- elsewhere

--- Says once that the command tries again, so that it is not silent for long.
---@param patience_ms integer for how long
---@return fun(event: clerk.machines.Event)
function progress.once(patience_ms)
  local has_said = false
  return function(event)
    if event.type == "wait" and not has_said then
      has_said = true
      terminal.complain(("%s; trying again for up to %d s"):format(outcome(event),
        patience_ms / 1000))
    end
  end
end

return progress
