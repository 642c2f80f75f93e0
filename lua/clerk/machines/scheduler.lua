--- Who moves tasks: nginx where there is one, else the client's own steps.

local phases = require "clerk.machines.phases"

return require(phases.is_nginx and "clerk.machines.nginx_tasks" or "clerk.machines.tasks")
