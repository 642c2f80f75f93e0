---@meta clerk.machines.types
-- The types of the whole interface for LuaLS (lua-language-server). Never loaded; checked against
-- the code by spec/types_spec.lua.

-- ---------------------------------------------------------------- results

---@class clerk.machines.ScopedMachine
---@field object "machine"
---@field id string
---@field name string
---@field instance_id string
---@field created_at integer Unix time in ms
---@field updated_at integer Unix time in ms
---@field default_token_ttl integer seconds

---@class clerk.machines.Machine: clerk.machines.ScopedMachine
---@field scoped_machines clerk.machines.ScopedMachine[] whom this machine may call

---@class clerk.machines.CreatedMachine: clerk.machines.Machine
---@field secret_key string the machine's own

---@class clerk.machines.MachineList
---@field data clerk.machines.Machine[]
---@field total_count? integer nil in a page of `pages` when the server's is not a count

---@class clerk.machines.DeletedMachine
---@field object "machine"
---@field id string
---@field deleted true

---@class clerk.machines.SecretKey
---@field object "machine_secret_key"
---@field secret string the machine's own

---@class clerk.machines.Scope
---@field object "machine_scope"
---@field from_machine_id string who may call
---@field to_machine_id string whom
---@field created_at integer Unix time in ms

---@class clerk.machines.DeletedScope
---@field object "machine_scope"
---@field from_machine_id string
---@field to_machine_id string
---@field deleted true

--- The second result of every operation.
---@class clerk.machines.CallInfo
---@field status integer
---@field headers table<string, string> names in lower case
---@field attempts integer
---@field elapsed_ms integer

-- ---------------------------------------------------------------- parameters

---@class clerk.machines.ListParams
---@field limit? integer 1 to 500; the API's default is 10
---@field offset? integer from 0
---@field query? string exact ID, or part of a name
---@field order_by? "name"|"+name"|"-name"|"created_at"|"+created_at"|"-created_at"

--- Of each, pages and collect: a list's without `offset`.
---@class clerk.machines.PageParams
---@field limit? integer 1 to 500, of a page; 500 by default
---@field query? string exact ID, or part of a name
---@field order_by? "name"|"+name"|"-name"|"created_at"|"+created_at"|"-created_at"

---@class clerk.machines.CreateParams
---@field name string 1 to 255 characters
---@field scoped_machines? string[] at most 150 machine IDs
---@field default_token_ttl? integer 1 to 315360000 seconds

---@class clerk.machines.UpdateParams
---@field name? string 1 to 255 characters
---@field default_token_ttl? integer 1 to 315360000 seconds

---@class clerk.machines.RotateSecretKeyParams
---@field previous_token_ttl integer 0 to 28800 seconds that the previous key stays valid

---@class clerk.machines.CreateScopeParams
---@field to_machine_id string whom the machine may call

-- ---------------------------------------------------------------- options

---@class clerk.machines.Backoff
---@field initial_interval? number ms
---@field max_interval? number ms
---@field exponent? number
---@field max_elapsed_time? number ms

---@class clerk.machines.Retries
---@field strategy? "backoff"|"none"
---@field backoff? clerk.machines.Backoff
---@field retry_connection_errors? boolean
---@field status_codes? (integer|string)[] 429, "5XX"
---@field repeat_unsafe? boolean repeat POST like the other methods

--- What may be given with a call.
---@class clerk.machines.CallOptions
---@field base_url? string by default $CLERK_API_URL, with /v1 when it has no path
---@field timeout_ms? integer of one attempt
---@field deadline_ms? integer of the whole call
---@field retries? clerk.machines.Retries|false
---@field headers? table<string, string>

---@class clerk.machines.CollectOptions: clerk.machines.CallOptions
---@field concurrency? integer 1 to 100 requests under way at once; 1 by default

---@class clerk.machines.Options: clerk.machines.CallOptions
---@field secret_key? string|fun(): string
---@field connect_timeout_ms? integer
---@field api_version? string
---@field user_agent? string
---@field max_connections? integer
---@field max_response_bytes? integer of the unpacked body
---@field ca_file? string PEM
---@field proxy? string
---@field transport? clerk.machines.Transport
---@field on_event? fun(event: clerk.machines.Event|clerk.machines.PageEvent)
---@field allow_http? boolean
---@field check_bounds? boolean

-- ---------------------------------------------------------------- events

---@class clerk.machines.Event
---@field type "attempt"|"answer"|"wait"|"end"
---@field operation string
---@field method string
---@field url string
---@field attempt integer
---@field elapsed_ms integer since the call began
---@field status? integer of the attempt that ended
---@field code? clerk.machines.FailureCode|clerk.machines.SDKErrorCode|string
---@field bytes? integer of its body
---@field wait_ms? integer

--- Of `each`, `pages` and `collect`, for every page that they return.
---@class clerk.machines.PageEvent
---@field type "page"
---@field operation "list"
---@field page integer from 1
---@field machines integer so far
---@field total_count? integer as in the latest answer; nil when it is not a count
---@field elapsed_ms integer since the call of each, pages or collect

-- ---------------------------------------------------------------- transports

---@class clerk.machines.Request
---@field method string
---@field url string
---@field headers table<string, string> names in lower case
---@field body? string
---@field timeout_ms integer
---@field connect_timeout_ms integer
---@field max_response_bytes integer

---@class clerk.machines.Response
---@field status integer
---@field headers table<string, string> names in lower case, repeated ones joined by ", "
---@field body string

---@alias clerk.machines.FailureCode
---| "dns_failed"
---| "connect_failed"
---| "connection_lost"
---| "timeout"
---| "rate_limited"
---| "tls_failed"
---| "response_too_large"
---| "bad_response"
---| "cancelled"
---| "no_resources"

--- The codes of answers that cannot be used.
---@alias clerk.machines.SDKErrorCode
---| "invalid_json"
---| "unexpected_shape"
---| "unexpected_status"
---| "redirect_refused"

---@class clerk.machines.Failure
---@field code clerk.machines.FailureCode
---@field message string
---@field sent boolean? whether the server may act on the request; unknown is yes
---@field final boolean? whether to try again is pointless, whatever the code

---@alias clerk.machines.Send
---| fun(self, request: clerk.machines.Request): clerk.machines.Response?, clerk.machines.Failure?

---@class clerk.machines.Transport
---@field send clerk.machines.Send
---@field sleep? fun(self, ms: number)
---@field now? fun(self): number ms of a clock that never goes back; `sleep` moves it

-- ---------------------------------------------------------------- the client

---@class clerk.machines.Client
local Client = {}

--- List the machines, newest first: GET /machines
---@param params? clerk.machines.ListParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.MachineList
---@return clerk.machines.CallInfo
function Client:list(params, options) end

--- Create a machine; the answer holds its secret key: POST /machines
---@param params clerk.machines.CreateParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.CreatedMachine
---@return clerk.machines.CallInfo
function Client:create(params, options) end

--- Get a machine: GET /machines/{machine_id}
---@param machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.Machine
---@return clerk.machines.CallInfo
function Client:get(machine_id, options) end

--- Change the given fields of a machine: PATCH /machines/{machine_id}
---@param machine_id string
---@param params clerk.machines.UpdateParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.Machine
---@return clerk.machines.CallInfo
function Client:update(machine_id, params, options) end

--- Delete a machine and every scope that names it: DELETE /machines/{machine_id}
---@param machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.DeletedMachine
---@return clerk.machines.CallInfo
function Client:delete(machine_id, options) end

--- Get a machine's secret key: GET /machines/{machine_id}/secret_key
---@param machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.SecretKey
---@return clerk.machines.CallInfo
function Client:get_secret_key(machine_id, options) end

--- Give a machine a new secret key; the old one may overlap:
--- POST /machines/{machine_id}/secret_key/rotate
---@param machine_id string
---@param params clerk.machines.RotateSecretKeyParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.SecretKey
---@return clerk.machines.CallInfo
function Client:rotate_secret_key(machine_id, params, options) end

--- Allow a machine to call another one: POST /machines/{machine_id}/scopes
---@param machine_id string
---@param params clerk.machines.CreateScopeParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.Scope
---@return clerk.machines.CallInfo
function Client:create_scope(machine_id, params, options) end

--- No longer allow a machine to call another one:
--- DELETE /machines/{machine_id}/scopes/{other_machine_id}
---@param machine_id string
---@param other_machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.DeletedScope
---@return clerk.machines.CallInfo
function Client:delete_scope(machine_id, other_machine_id, options) end

--- Iterate over all machines: for machine in client:each() do … end
---@param params? clerk.machines.PageParams
---@param options? clerk.machines.CallOptions `deadline_ms` limits the whole pagination
---@return fun(): clerk.machines.Machine?
function Client:each(params, options) end

--- Iterate over all machines page by page.
---@param params? clerk.machines.PageParams
---@param options? clerk.machines.CallOptions `deadline_ms` limits the whole pagination
---@return fun(): clerk.machines.MachineList?
function Client:pages(params, options) end

--- Get all machines.
---@param params? clerk.machines.PageParams
---@param options? clerk.machines.CollectOptions `deadline_ms` limits the whole pagination
---@return clerk.machines.Machine[]
function Client:collect(params, options) end

--- Run a function as a task: until it would wait, then further with every step.
---@param f fun(...)
---@param ... any its arguments
---@return clerk.machines.Task
function Client:spawn(f, ...) end

--- Move what can move, other clients' tasks too, for a short time; before that, while nothing can,
--- wait at most so long. Not inside a task.
---@param ms? number default 0
---@return integer count of this client's unfinished tasks
function Client:step(ms) end

--- Step until none of this client's tasks is left. Not inside a task.
function Client:run() end

--- For an event loop: call step(0) when the descriptor is readable, and after so many ms. Needs
--- epoll.
---@return integer fd the same for all clients; do not close it
---@return integer? ms nil: no step is due before the descriptor is readable
function Client:pollable() end

--- Cancels the client's tasks and closes its connections. Any use of the client after that is an
--- ArgumentError, but for this.
function Client:close() end

-- ---------------------------------------------------------------- tasks

---@class clerk.machines.Task
---@field status "running"|"done"|"failed"|"cancelled"
local Task = {}

--- What the function returned, or its error, raised. While the task is running, other tasks wait
--- for it; outside of tasks it is too early, and an ArgumentError.
---@return any ...
function Task:result() end

--- Ends the task: the wait that it is in, and every further one, raises an error `cancelled`.
function Task:cancel() end

--- Calls f(task) once: when the task has ended, or at once if it has.
---@param f fun(task: clerk.machines.Task)
function Task:on_done(f) end

-- ---------------------------------------------------------------- clerk.machines.safe

--- A client of clerk.machines.safe: where Client raises, this one returns nil and the error.
---@class clerk.machines.SafeClient
local SafeClient = {}

--- List the machines, newest first: GET /machines
---@param params? clerk.machines.ListParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.MachineList?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:list(params, options) end

--- Create a machine; the answer holds its secret key: POST /machines
---@param params clerk.machines.CreateParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.CreatedMachine?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:create(params, options) end

--- Get a machine: GET /machines/{machine_id}
---@param machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.Machine?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:get(machine_id, options) end

--- Change the given fields of a machine: PATCH /machines/{machine_id}
---@param machine_id string
---@param params clerk.machines.UpdateParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.Machine?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:update(machine_id, params, options) end

--- Delete a machine and every scope that names it: DELETE /machines/{machine_id}
---@param machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.DeletedMachine?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:delete(machine_id, options) end

--- Get a machine's secret key: GET /machines/{machine_id}/secret_key
---@param machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.SecretKey?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:get_secret_key(machine_id, options) end

--- Give a machine a new secret key; the old one may overlap:
--- POST /machines/{machine_id}/secret_key/rotate
---@param machine_id string
---@param params clerk.machines.RotateSecretKeyParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.SecretKey?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:rotate_secret_key(machine_id, params, options) end

--- Allow a machine to call another one: POST /machines/{machine_id}/scopes
---@param machine_id string
---@param params clerk.machines.CreateScopeParams
---@param options? clerk.machines.CallOptions
---@return clerk.machines.Scope?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:create_scope(machine_id, params, options) end

--- No longer allow a machine to call another one:
--- DELETE /machines/{machine_id}/scopes/{other_machine_id}
---@param machine_id string
---@param other_machine_id string
---@param options? clerk.machines.CallOptions
---@return clerk.machines.DeletedScope?
---@return clerk.machines.CallInfo|clerk.machines.Error
function SafeClient:delete_scope(machine_id, other_machine_id, options) end

--- Iterate over all machines. A `for` loop takes an error for the end: call the iterator yourself.
---@param params? clerk.machines.PageParams
---@param options? clerk.machines.CallOptions `deadline_ms` limits the whole pagination
---@return (fun(): clerk.machines.Machine?, clerk.machines.Error?)?
---@return clerk.machines.Error?
function SafeClient:each(params, options) end

--- Iterate over all machines page by page; see each.
---@param params? clerk.machines.PageParams
---@param options? clerk.machines.CallOptions `deadline_ms` limits the whole pagination
---@return (fun(): clerk.machines.MachineList?, clerk.machines.Error?)?
---@return clerk.machines.Error?
function SafeClient:pages(params, options) end

--- Get all machines.
---@param params? clerk.machines.PageParams
---@param options? clerk.machines.CollectOptions `deadline_ms` limits the whole pagination
---@return clerk.machines.Machine[]?
---@return clerk.machines.Error?
function SafeClient:collect(params, options) end

--- Run a function as a task: until it would wait, then further with every step.
---@param f fun(...)
---@param ... any its arguments
---@return clerk.machines.SafeTask?
---@return clerk.machines.Error?
function SafeClient:spawn(f, ...) end

--- Move what can move, other clients' tasks too, for a short time; before that, while nothing can,
--- wait at most so long. Not inside a task.
---@param ms? number default 0
---@return integer? count of this client's unfinished tasks
---@return clerk.machines.Error?
function SafeClient:step(ms) end

--- Step until none of this client's tasks is left. Not inside a task.
---@return nil
---@return clerk.machines.Error?
function SafeClient:run() end

--- For an event loop: call step(0) when the descriptor is readable, and after so many ms. Needs
--- epoll.
---@return integer? fd the same for all clients; do not close it
---@return integer|clerk.machines.Error|nil ms nil: no step is due before the descriptor is readable
function SafeClient:pollable() end

--- Cancels the client's tasks and closes its connections. Any use of the client after that is an
--- ArgumentError, but for this.
---@return nil
---@return clerk.machines.Error?
function SafeClient:close() end

---@class clerk.machines.SafeTask
---@field status "running"|"done"|"failed"|"cancelled"
local SafeTask = {}

--- What the function returned, or nil and its error. While the task is running, other tasks wait
--- for it; outside of tasks it is too early, and an ArgumentError.
---@return any ... nil and the error, when there is one
function SafeTask:result() end

--- Ends the task: the wait that it is in, and every further one, raises an error `cancelled`.
---@return nil
---@return clerk.machines.Error?
function SafeTask:cancel() end

--- Calls f(task) once: when the task has ended, or at once if it has.
---@param f fun(task: clerk.machines.SafeTask)
---@return nil
---@return clerk.machines.Error?
function SafeTask:on_done(f) end
