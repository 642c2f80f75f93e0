-- A plan file: the machines of a shop, and which of them may call which. See what it would change:
--
--   bin/clerk-machines plan examples/machines.lua

return {
  machines = {
    { name = "gateway", default_token_ttl = 900, scoped_machines = { "orders", "search" } },
    { name = "cron", scoped_machines = { "billing", "reports" } },
    { name = "orders", scoped_machines = { "billing", "stock" } },
    { name = "stock", scoped_machines = { "orders" } },
    { name = "billing", scoped_machines = { "ledger" } },
    { name = "reports", scoped_machines = { "ledger" } },
    { name = "ledger" },
    { name = "search" },
  },
}
