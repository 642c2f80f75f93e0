--- What the API's public documents leave open, and the emulator has chosen: correct it when the
--- real API turns out to differ.
---
--- Other files of the emulator have chosen:
--- * A request is checked in this order: body size, key, API version, path and method, rate limit,
---   content type, JSON, parameters (all problems at once), the machines in the path, and then the
---   rules of the operation.
--- * `updated_at` changes when update is given a field, and not by scopes or rotations.
--- * Earlier keys that still overlap keep their own time when a key is rotated again.
--- * A machine's `scoped_machines` are in the order in which the scopes were created.
--- * Machines with the same `created_at` are in the order of their creation, or in its reverse.
--- * Deleting a machine deletes every scope that names it, in either direction, and its tokens.
---
--- Of tokens:
--- * A request with the wrong kind of key for its operation is refused like one with a wrong key.
--- * Scopes and claims of a token are those at its minting; the scopes that count for a JWT are its
---   machine's current ones.
--- * With a machine's key, verify answers 404 for a token that is not granted to the machine, and
---   revoke for one that another machine minted. list answers 403 for another machine's tokens.
--- * verify answers 200 for revoked and expired tokens, and says so in the answer.
--- * Revoking a token again changes nothing, its reason neither.
--- * `min_remaining_ttl_seconds` is checked for JWTs too. A reused token is also answered with 201.
--- * Problems of parameters are `bad_request`, without `meta`.
--- * The claims of a JWT must be an object.

local assumed = {}

---The most bytes of a request body; a larger one gets a 413.
assumed.max_body_bytes = 1048576

---The code of each problem; problems.lua has their statuses.
assumed.code = {
  wrong_method = "method_not_allowed",
  body_not_expected = "request_body_invalid",
  query_repeated = "form_param_duplicate",
  too_small = "form_param_value_invalid",
  too_large = "form_param_value_too_large",
  too_short = "form_param_value_invalid",
  not_a_choice = "form_param_value_invalid",
  empty_machine_id = "form_param_format_invalid",
  scoped_machine_absent = "form_param_value_invalid",
  scope_to_itself = "form_param_value_invalid",
  scope_exists = "conflict",
  scope_absent = "resource_not_found",
  too_many_scopes = "form_param_array_size_exceeded",
  token_absent = "resource_not_found",
}

---The longest lifetime of a token in seconds: that of `default_token_ttl`.
assumed.max_token_lifetime = 315360000

---The `iss` of JWTs.
assumed.issuer = "https://emulator.clerk.accounts.dev"

---What `seconds_until_expiration: null` means: an opaque token does not expire, a JWT has to.
---@param machine { default_token_ttl: integer }
---@param token_format string?
---@return number? seconds
function assumed.lifetime_of_null(machine, token_format)
  return token_format == "jwt" and machine.default_token_ttl or nil
end

---The claims of a JWT by which its scopes can be seen: none, as Clerk's SDK says (M2MToken.ts). The
---machine may put `aud` and `scopes` into its own claims.
---@return table<string, any>
function assumed.scope_claims()
  return {}
end

---Whether the list's `query` matches a machine: by its ID, or by a part of its name in any case.
---@param machine { id: string, name: string }
---@param query string
---@return boolean
function assumed.matches(machine, query)
  return machine.id == query or machine.name:lower():find(query:lower(), 1, true) ~= nil
end

---Whether one name sorts before another: by their bytes.
---@param name string
---@param other string
---@return boolean
function assumed.name_before(name, other)
  return name < other
end

return assumed
