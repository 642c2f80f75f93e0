--- Clerk machines and their tokens: each operation is a method that returns a plain table or
--- raises an error.
---
---     local machines = require "clerk.machines"
---     local client = machines.new { secret_key = "sk_test_…" }
---     local machine = client:get("mch_…")

local client = require "clerk.machines.client"
local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"

local machines = {}

--- "MAJOR.MINOR.PATCH"
---@type string
machines.version = core.version

--- Stands for null in arrays of results, and in parameters: the light userdata NULL.
---@type lightuserdata
machines.null = core.null

--- Makes a client; raises an ArgumentError.
---@type fun(options?: clerk.machines.Options): clerk.machines.Client
machines.new = client.new

--- Whether a value is an error object of this library.
---@type fun(value: any): boolean
machines.is_error = errors.is_error

return machines
