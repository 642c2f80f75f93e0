// Drives @clerk/backend against an emulator for javascript_sdk_spec.lua: prints what came of each call
// as one JSON document. The package is below $DIRECTORY.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { DIRECTORY, API_URL, SECRET_KEY, GATEWAY_ID, GATEWAY_KEY, BILLING_KEY, SEARCH_KEY } =
  process.env;
const packages = createRequire(pathToFileURL(`${DIRECTORY}/package.json`));
const { createClerkClient } = await import(pathToFileURL(packages.resolve("@clerk/backend")));

const { m2m } = createClerkClient({
  secretKey: SECRET_KEY, machineSecretKey: GATEWAY_KEY, apiUrl: API_URL,
});
const outcomes = {};

async function note(name, call) {
  try {
    outcomes[name] = await call();
  } catch (error) {
    outcomes[name] = {
      status: error.status, code: error.errors?.[0]?.code ?? error.code, message: error.message,
    };
  }
  return outcomes[name];
}

const created = await note("created", () => m2m.createToken({
  claims: { role: "reader", levels: [1, 2] }, secondsUntilExpiration: 60,
}));
await note("defaults", () => m2m.createToken());
await note("reused", () => m2m.createToken({
  claims: { role: "reader", levels: [1, 2] }, secondsUntilExpiration: 60, minRemainingTtlSeconds: 30,
}));
const { token } = created;
await note("granted", () => m2m.verify({ token, machineSecretKey: BILLING_KEY }));
await note("notGranted", () => m2m.verify({ token, machineSecretKey: SEARCH_KEY }));
await note("listed", () => m2m.list({ subject: GATEWAY_ID, limit: 5 }));
await note("revoked", () => m2m.revokeToken({ m2mTokenId: created.id, revocationReason: "lost" }));
await note("listedAfterwards", () => m2m.list({ subject: GATEWAY_ID }));
await note("listedWithRevoked", () => m2m.list({ subject: GATEWAY_ID, revoked: true }));
await note("wrongKey", () => m2m.createToken({ machineSecretKey: "ak_wrong" }));

const jwt = await note("jwt", () => m2m.createToken({ tokenFormat: "jwt", claims: { role: "jwt" } }));
await note("verifiedJwt", () => m2m.verify({ token: jwt.token }));
// Another first letter of the signature.
await note("forgedJwt", () => m2m.verify({
  token: jwt.token.replace(/\.([^.])([^.]*)$/, (_, first, rest) => (first === "A" ? ".B" : ".A") + rest),
}));

console.log(JSON.stringify(outcomes));
