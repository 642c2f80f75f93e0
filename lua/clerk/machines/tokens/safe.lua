--- The same interface as clerk.machines.tokens, but functions return `nil, err` where they raise
--- there.

local source = require "clerk.machines.tokens.source"
local twin = require "clerk.machines.twin"
local verifier = require "clerk.machines.tokens.verifier"

---@class clerk.machines.tokens.SafeVerifier
---@field verify fun(self, text: string, more?: table): clerk.machines.Token?, clerk.machines.Error?

---@class clerk.machines.tokens.SafeSource
---@field get fun(self): string?, clerk.machines.CreatedToken|clerk.machines.Error
---@field invalidate fun(self, text: string): nil, clerk.machines.Error?

return {
  verifier = twin.of_constructor(verifier.new, twin.of_class(verifier.Verifier)),
  source = twin.of_constructor(source.new, twin.of_class(source.Source)),
}
