--- The command token: create, verify, list and revoke.

local arguments = require "clerk.machines.cli.arguments"
local columns = require "clerk.machines.cli.columns"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local names = require "clerk.machines.cli.names"
local output = require "clerk.machines.cli.output"
local record = require "clerk.machines.cli.record"
local sequence = require "clerk.machines.cli.sequence"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"
local verify = require "clerk.machines.cli.token_verify"

--- Opens a client with the keys that an operation takes.
local function open(parsed, operation)
  return connection.open(parsed, core.operations[operation].keys)
end

-- ---------------------------------------------------------------- create

local create = {
  name = "create",
  summary = "Mint a token of the machine whose secret key is given.",
  epilog = [[
Examples:
   export CLERK_MACHINE_SECRET_KEY=$(clerk-machines secret gateway)
   clerk-machines token create --expires-in 5m --claims '{"role": "reader"}'
   token=$(clerk-machines token create --json --reveal | jq -r .token)

The key is that of $CLERK_MACHINE_SECRET_KEY or --machine-secret-key-file. Each token costs; ]]
    .. [[with --min-remaining-ttl, one that exists is used again, if its claims and scopes are ]]
    .. [[the same and it lives long enough.]],
}

--- Reads JSON, in which null stays null.
local function claims(written)
  local value, problem = core.decode(written, core.result, true)
  if value == nil then
    return nil, ("--claims must be JSON, such as '{\"role\": \"reader\"}': %s"):format(problem)
  end
  return value
end

function create.declare(parser)
  parser:option("--expires-in", "How long it is valid: 90, 15m, 1h30m (default: the machine's "
    .. "token TTL)."):argname("<time>")
    :convert(arguments.duration("--expires-in", "create_token", "seconds_until_expiration"))
  parser:option("--claims", "What it says about its machine: JSON, usually an object.")
    :argname("<json>"):convert(claims)
  parser:option("--format", "opaque (default), which the API verifies and can revoke, or jwt.")
    :argname("<format>")
  parser:option("--min-remaining-ttl", "Use a token that exists, if it is valid for at least this "
    .. "long."):argname("<time>")
    :convert(arguments.duration("--min-remaining-ttl", "create_token", "min_remaining_ttl_seconds"))
  output.declare_reveal(parser, "token")
  output.declare(parser)
end

local function created_text(token, reveal)
  local rows = record.token_rows(token, true)
  local shown = text.clean(reveal and token.token or output.mask(token.token))
  rows[#rows + 1] = { "Token", shown .. (reveal and "" or " (--reveal shows it)") }
  return record.lines(rows) .. record.claims(token)
end

function create.run(parsed)
  local token = open(parsed, "create_token"):create_token {
    token_format = parsed.format,
    seconds_until_expiration = parsed.expires_in,
    claims = parsed.claims,
    min_remaining_ttl_seconds = parsed.min_remaining_ttl,
  }
  output.print(parsed, token, created_text)
end

-- ---------------------------------------------------------------- list

local list = {
  name = "list",
  usage = "<machine>",
  summary = "List the opaque tokens of a machine, newest first.",
  epilog = [[
Examples:
   clerk-machines token list gateway
   clerk-machines token list gateway --revoked --expired --limit 20
   clerk-machines token list mch_123 | cut -f 1

It shows the tokens' IDs, not the tokens. JWTs are not kept, and so not listed. A machine's ]]
    .. [[secret key, which is preferred if there is one, lists only the machine's own tokens.

With --tsv, each token is one line: ID, creation time, expiration time, time of its last use and ]]
    .. [[state (valid, expired, or revoked with the reason), separated by tabs.]],
}

function list.declare(parser)
  arguments.declare_machine(parser)
  parser:flag("--revoked", "List revoked tokens, too.")
  parser:flag("--expired", "List expired tokens, too.")
  parser:option("--limit", "List at most this many tokens."):argname("<count>")
    :convert(arguments.integer("--limit", 1, 1000000000))
  output.declare_table(parser)
end

--- Those of a page that were not on an earlier one: tokens may be minted meanwhile.
local function new_ones(page, seen, most)
  local tokens = {}
  for _, token in ipairs(page) do
    if not seen[token.id] and #tokens < most then
      seen[token.id] = true
      tokens[#tokens + 1] = token
    end
  end
  return tokens
end

local LARGEST_PAGE = core.operations.list_tokens.parameters.limit.max

--- Iterates over arrays of tokens, with the latest total_count. A short page is the last one only
--- if total_count says so.
local function pages(client, params, limit)
  local left, seen, is_last = limit or math.huge, {}, false
  params.offset = 0
  return function()
    while left > 0 and not is_last do
      params.limit = math.min(left, LARGEST_PAGE)
      local page = client:list_tokens(params)
      params.offset = params.offset + #page.m2m_tokens
      is_last = #page.m2m_tokens == 0 or params.offset == page.total_count
      local tokens = new_ones(page.m2m_tokens, seen, left)
      left = left - #tokens
      if tokens[1] then
        return tokens, page.total_count
      end
    end
  end
end

local function state_of(token)
  if token.revoked then
    return "revoked" .. (token.revocation_reason and ": " .. text.of(token.revocation_reason) or "")
  end
  return token.expired and "expired" or "valid"
end

local function print_lines(parsed, next_page)
  local printed, is_empty = columns.new(columns.OF_TOKENS, output.is_table(parsed)), true
  for tokens in next_page do
    for _, token in ipairs(tokens) do
      token.state = state_of(token)
    end
    is_empty = false
    printed:add(tokens)
  end
  if is_empty then
    terminal.remark("There are no such tokens.")
  end
end

function list.run(parsed)
  local client = open(parsed, "list_tokens")
  local subject = names.id(client, parsed.machine)
  local next_page = pages(client, {
    subject = subject, revoked = parsed.revoked, expired = parsed.expired,
  }, parsed.limit)
  if parsed.json then
    output.print_pages(next_page, "m2m_tokens")
  else
    print_lines(parsed, next_page)
  end
end

-- ---------------------------------------------------------------- revoke

local revoke = {
  name = "revoke",
  usage = "<token-id>...",
  summary = "Revoke opaque tokens.",
  epilog = [[
Examples:
   clerk-machines token revoke mt_123 --reason "lost laptop"
   clerk-machines token revoke mt_123 mt_456 --yes

It takes the tokens' IDs, not the tokens, although both begin with mt_. A JWT cannot be revoked.]],
}

function revoke.declare(parser)
  parser:argument("token-id", "The IDs of the tokens, as `token list` shows them.")
    :args("+"):target("ids")
  parser:option("--reason", "Why they are revoked; `token list --revoked` shows it.")
    :argname("<text>")
  confirmation.declare(parser)
  output.declare(parser)
end

local REMEMBERED = "A receiver that has verified a token may accept it for as long as it remembers "
  .. "that: a minute by default."

--- The instance is asked for only with its own key.
local function instance_id(client, parsed)
  local machine = parsed.key_name == "secret_key" and client:list({ limit = 1 }).data[1]
  return machine and machine.instance_id or nil
end

local function confirm_revoke(client, parsed)
  confirmation.ask(parsed, instance_id(client, parsed), { REMEMBERED }, #parsed.ids == 1
    and ("Revoke token %s?"):format(text.of(parsed.ids[1]))
    or ("Revoke these %d tokens?"):format(#parsed.ids))
end

local function revoke_all(client, parsed)
  local tokens = {}
  for i, id in ipairs(parsed.ids) do
    tokens[i] = { id = id }
  end
  sequence.each(tokens, "tokens", "revoked", function(token)
    local params = { revocation_reason = parsed.reason }
    local result = client:revoke_token(token.id, params)
    if not parsed.json then
      terminal.print("Revoked " .. text.of(token.id) .. ".\n")
    end
    return result
  end, function(results)
    output.print_done(parsed, results, #parsed.ids > 1)
  end)
end

function revoke.run(parsed)
  local is_needed = confirmation.is_needed(parsed)
  local client = open(parsed, "revoke_token")
  if is_needed then
    confirm_revoke(client, parsed)
  end
  revoke_all(client, parsed)
end

return { {
  name = "token",
  summary = "Mint, verify, list and revoke the tokens of machines.",
  epilog = [[
Examples:
   clerk-machines token create --expires-in 5m
   clerk-machines token verify <token.txt
   clerk-machines token list gateway]],
  commands = { create, verify, list, revoke },
} }
