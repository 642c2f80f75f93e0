// JWTs by the npm package @clerk/backend, below build/bench/node, with the key at hand.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { BENCH_DIRECTORY, BENCH_ID } = process.env;
const read = (name) => readFileSync(`${BENCH_DIRECTORY}/${name}`, "utf8");

const packages = createRequire(pathToFileURL("build/bench/node/package.json"));
const { createClerkClient } = await import(pathToFileURL(packages.resolve("@clerk/backend")));
const { m2m } = createClerkClient({ secretKey: "sk_test_bench", jwtKey: read("jwt.pem") });
const tokens = [read("jwt1"), read("jwt2")];

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

for await (const line of createInterface({ input: process.stdin })) {
  for (let i = Number(line); i > 0; i--) {
    const { subject } = await m2m.verify({ token: tokens[i % tokens.length] });
    if (subject !== BENCH_ID) throw new Error("another token came");
  }
  console.log(`${cpuSeconds()} ${process.memoryUsage.rss() >> 10}`);
}
