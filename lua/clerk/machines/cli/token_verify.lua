--- The command token verify: whether a token is valid and, if it is not, why.

local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local names = require "clerk.machines.cli.names"
local output = require "clerk.machines.cli.output"
local record = require "clerk.machines.cli.record"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"
local tokens = require "clerk.machines.tokens"
local units = require "clerk.machines.cli.units"

local verify = {
  name = "verify",
  summary = "Say whether a token is valid, and if it is not, why.",
  epilog = [[
Examples:
   clerk-machines token verify <token.txt
   clerk-machines token verify --machine billing --json <token.txt
   clerk-machines token verify --publishable-key pk_test_abc <token.txt

It reads the token from standard input, because other users of the system can see arguments; at a ]]
    .. [[terminal it asks for it, without showing it.

The exit status is 0 for a valid token, and 1 for one that is refused or could not be verified. ]]
    .. [[The API verifies opaque tokens (mt_...), with a machine's secret key only those that are ]]
    .. [[for that machine. A JWT is verified by its signature. What a refused JWT says of itself ]]
    .. [[is shown for reading: do not rely on it.]],
}

function verify.declare(parser)
  parser:option("--machine", "The receiver, by its ID or exact name: also check whether the "
    .. "token's machine may call it."):argname("<machine>")
  parser:option("--publishable-key", "The instance's publishable key (pk_...), which says where "
    .. "the keys of JWTs are (default: the API, with the instance's secret key).")
    :argname("<key>")
  output.declare(parser):description("Print JSON.")
end

--- What a refusal may mean, and what to do, by the code of the TokenError.
local MEANINGS = {
  token_malformed = "It may be cut off, or have more around it: give what follows `Bearer`. The ID "
    .. "of a token is not a token.",
  token_type_refused = "It may be the token of a user's session, or an OAuth token: these are not "
    .. "for machines.",
  token_algorithm_refused = "Clerk signs the tokens of machines with RS256, so it is probably not "
    .. "Clerk's.",
  token_key_unknown = "It is probably of another instance.",
  token_signature_invalid = "It may be of another instance, tampered with, or older than the "
    .. "instance's signing key.",
  token_expired = "Its machine has to mint a new one, before the old one expires.",
  token_not_active = "The clock of this computer may be wrong: `clerk-machines whoami` compares it "
    .. "with the API's.",
  token_revoked = "`clerk-machines token list <machine> --revoked` shows the reason. Its machine "
    .. "has to mint a new one.",
  token_unknown = "It may be of another instance, or deleted with its machine; with a machine's "
    .. "secret key, it may be for other machines only. The ID of a token is not a token.",
  token_not_granted = "`clerk-machines scope add` allows a machine to call another one. An opaque "
    .. "token keeps the scopes that its machine had when it was minted.",
}

local IN_DOUBT = "This says nothing about the token. A service must not let it in; try again."

-- ---------------------------------------------------------------- verifying

--- Nil when a JWT can be verified without the API.
local function open(parsed, is_opaque)
  if is_opaque then
    return connection.open(parsed, core.operations.verify_token.keys)
  elseif parsed.machine then
    return connection.open(parsed)
  elseif not parsed.publishable_key or connection.key(parsed, "secret_key") then
    return connection.open(parsed, nil, ", or give --publishable-key")
  end
end

--- An opaque token names its receivers; those of a JWT are what the API says now.
local function new_verifier(parsed, is_opaque)
  local client = open(parsed, is_opaque)
  local machine_id = parsed.machine and names.id(client, parsed.machine)
  return tokens.verifier {
    client = client,
    machine_id = machine_id,
    scope_check = not machine_id and "none" or not is_opaque and "machine" or nil,
    jwt = not is_opaque,
    publishable_key = parsed.publishable_key,
  }
end

--- Decodes a part of a JWT without verifying anything; nil when that is not possible.
local function decoded(part)
  local json = core.base64url(part)
  return json and core.decode(json, core.result, true)
end

--- What a JWT says of itself; nil when it is not a JWT.
local function unverified(token)
  local header, payload = token:match("^([%w_-]+)%.([%w_-]+)%.[%w_-]*$")
  header, payload = decoded(header or ""), decoded(payload or "")
  return payload ~= nil and { header = header, payload = payload } or nil
end

local function failed(problem, token)
  if not machines.is_error(problem) or problem.type == "ArgumentError" then
    error(problem, 0)
  end
  local is_refused = problem.type == "TokenError"
  return {
    verdict = is_refused and "refused" or "unknown",
    code = problem.code,
    reason = is_refused and problem.message or failure.line_of(problem),
    meaning = is_refused and MEANINGS[problem.code] or IN_DOUBT,
    unverified = unverified(token),
  }
end

local PATIENCE_MS = 2000 -- a verifier's

--- The findings, as --json prints them.
local function check(parsed, token)
  local is_opaque = token:find("^mt_") ~= nil
  parsed.patience_ms = PATIENCE_MS
  local verifier = new_verifier(parsed, is_opaque)
  local ok, result = pcall(verifier.verify, verifier, token)
  return ok and { verdict = "valid", verified = result, format = is_opaque and "opaque" or "jwt" }
    or failed(result, token)
end

-- ---------------------------------------------------------------- showing

local HOW = {
  opaque = "an opaque token that the API knows",
  jwt = "a JWT that the instance's key has signed",
}

local function valid_text(found, parsed)
  local rows = record.token_rows(found.verified, found.format == "opaque") -- a JWT may claim any
  local verdict = terminal.green("valid")
  table.insert(rows, 1, { "Verdict", ("%s: %s"):format(verdict, HOW[found.format]) })
  table.insert(rows, 2, { "Receiver", parsed.machine and text.clean(parsed.machine)
    .. ", which its machine may call" or "not checked (see --machine)" })
  return record.lines(rows) .. record.claims(found.verified)
end

local VERDICTS = { refused = "refused", unknown = "could not be verified" }

local function time_of(seconds)
  local ms = type(seconds) == "number" and seconds * 1000
  return ("%s (%s)"):format(units.date(ms), units.distance(ms))
end

--- With the times that its numbers stand for.
local function unverified_text(said)
  local rows = {}
  for _, row in ipairs { { "Minted", "iat" }, { "Expires", "exp" } } do
    local seconds = getmetatable(said.payload) == core.result and said.payload[row[2]]
    rows[#rows + 1] = seconds and { row[1], time_of(seconds) }
  end
  return ("\n%s\n%s%s\n"):format(terminal.faint("Not verified, only for reading:"),
    record.lines(rows), output.json(said))
end

local function failed_text(found)
  local verdict = terminal.red(VERDICTS[found.verdict])
  return record.lines {
    { "Verdict", ("%s (%s)"):format(verdict, text.clean(found.code)) },
    { "Reason", found.reason },
    { "Meaning", found.meaning },
  } .. (found.unverified and unverified_text(found.unverified) or "")
end

-- ---------------------------------------------------------------- the command

local function read_token()
  local line = terminal.read_secret("Token:")
  local token = line and line:match("^%s*(.-)%s*$") or ""
  return token ~= "" and token
    or failure.raise("there is no token on standard input", failure.MISUSED)
end

function verify.run(parsed)
  local found = check(parsed, read_token())
  output.print(parsed, found, function()
    return (found.verified and valid_text or failed_text)(found, parsed)
  end)
  if not found.verified then
    failure.raise(nil)
  end
end

return verify
