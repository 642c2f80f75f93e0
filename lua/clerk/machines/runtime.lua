--- The one place that knows where this library runs. It returns the runtime, which all other
--- modules use without asking: nginx's inside nginx, and a scheduler over libcurl everywhere else.

---@class clerk.machines.Runtime
---@field is_nginx boolean
---@field new_transport fun(options: table): clerk.machines.Transport?, string? the default one
---@field new_limit fun(count: integer): table at most `count` at a time: see loop/limits.lua
---@field refuse_option fun(name: string): string? a problem when the option is not allowed here
---@field environment_hint fun(variable: string): string for the message that it is not set
---@field check_call? fun(operation: string) raises an ArgumentError where a call cannot wait
---@field can_spawn fun(): boolean whether tasks are possible here and now
---@field can_detach fun(is_ours: boolean): boolean whether tasks.detach is; is the transport ours?
---@field detach? fun(f: function, ...): string? runs it concurrently; nil: a task is enough
---@field shared_dict fun(name: string): table?, string? a shared dictionary of nginx
---
---@field is_alone fun(): boolean whether there are no tasks; asked where transports can `attempt`
---@field current fun(): clerk.machines.Task? the task that is running
---@field is_cancelled fun(): boolean whether it has been cancelled
---@field sleep fun(ms: number): boolean false when it is cancelled meanwhile
---@field new_waiter fun(): table what the running code waits with, once
---@field wait fun(waiter: table, wakes_at?: number) until woken, cancelled, or core.now's time
---@field wake fun(waiter: table) sets its `is_woken`
---
---@field new_group fun(owner: table|userdata): table a client's unfinished tasks, in `tasks`
---@field start fun(task: table, finish: function, f: function, ...) runs finish(task, pcall(f, …));
--- a runtime reads a task's `status`, `group` and `is_cancelled`, and has fields of its own in it
---@field forget fun(task: table) the task has ended
---@field cancel fun(tasks: table[]) sets `is_cancelled` of those that run; ends their waits
---@field check_joinable fun(task: table) raises where the running code cannot wait for its end
---@field count fun(group: table): integer
---@field step fun(ms: number, group: table)
---@field run fun(group: table)
---@field pollable fun(): integer?, integer?

local ngx = rawget(_G, "ngx")
local is_nginx = type(ngx) == "table" and ngx.get_phase ~= nil and ngx.socket ~= nil

---@type clerk.machines.Runtime
return require(is_nginx and "clerk.machines.nginx.runtime" or "clerk.machines.loop.runtime")
