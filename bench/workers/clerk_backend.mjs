// The npm package @clerk/backend, below build/bench/node.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { BENCH_KIND, BENCH_BASE_URL, BENCH_ID, BENCH_NAME } = process.env;
const count = Number(process.env.BENCH_COUNT);
const scopes = Number(process.env.BENCH_SCOPES);

const packages = createRequire(pathToFileURL("build/bench/node/package.json"));
const { createClerkClient } = await import(pathToFileURL(packages.resolve("@clerk/backend")));
const { machines } = createClerkClient({
  secretKey: "sk_test_bench",
  apiUrl: BENCH_BASE_URL.replace(/\/v1$/, ""),
});

function assert(condition, message) {
  if (!condition) throw new Error(message);
}

function checkMachine(machine) {
  assert(machine.id === BENCH_ID && machine.name === BENCH_NAME, "another machine came");
  assert(machine.scopedMachines.length === scopes, "scopes are missing");
}

const calls = {
  async get() {
    checkMachine(await machines.get(BENCH_ID));
  },
  async list() {
    const { data, totalCount } = await machines.list({ limit: count });
    assert(totalCount === count && data.length === count, "rows are missing");
    checkMachine(data[count - 1]);
  },
};

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function mostMemory() {
  return readFileSync("/proc/self/status", "utf8").match(/VmHWM:\s*(\d+)/)[1];
}

for await (const line of createInterface({ input: process.stdin })) {
  for (let i = Number(line); i > 0; i--) await calls[BENCH_KIND]();
  console.log(`${cpuSeconds()} ${mostMemory()}`);
}
