--- Who moves tasks: nginx where there is one, else the client's own steps.

local phases = require "clerk.machines.nginx.phases"

return require(phases.is_nginx and "clerk.machines.nginx.tasks" or "clerk.machines.loop.tasks")
