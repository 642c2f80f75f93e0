--- Tokens for machines: verify those that callers send, and get those that receivers want.
---
---     local tokens = require "clerk.machines.tokens"
---     local verifier = tokens.verifier { client = client, machine_id = "mch_…", callers = { … } }
---     local token = verifier:verify(text)

return {
  verifier = require("clerk.machines.tokens.verifier").new,
  source = require("clerk.machines.tokens.source").new,
}
