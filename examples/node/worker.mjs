// A worker: counts the words of texts, slowly enough to be watched.    node worker.mjs 127.0.0.1:7420
import { setTimeout as sleep } from "node:timers/promises";
import { ask, connect } from "./longrun.mjs";

const [workers, operations] = connect(process.argv[2]);
const stopping = new AbortController();

// The work. What it throws is the operation's error; to be stopped, it is told so by the signal.
async function countWords(input, { signal, progress, log }) {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(input);
  const totalUnits = text.split("\n").length - 1;
  await log(`${totalUnits} lines to read`);
  for (let doneUnits = 1; doneUnits <= totalUnits; doneUnits++) {
    await sleep(200, undefined, { signal });
    progress({ doneUnits, totalUnits });
  }
  return JSON.stringify({ words: text.split(/\s+/).filter(Boolean).length });
}

// The contents of an input, which do not come along if they are large.
async function read({ operation, input, token }) {
  if (!input?.omitted) return input?.data ?? Buffer.alloc(0);
  const chunks = operations.ReadInput({ name: operation.name, attemptToken: token });
  return Buffer.concat(await chunks.map(({ data }) => data).toArray());
}

// Does the work, keeps its lease meanwhile, and reports. Throws what the server refuses a report with.
async function perform(attempt) {
  const { token } = attempt;
  const over = new AbortController();
  const signal = AbortSignal.any([stopping.signal, over.signal]);
  const renewal = { token };
  const renew = async () => {
    while (!signal.aborted && !(await ask(workers, "Renew", renewal)).cancel) await sleep(1000, undefined, { signal });
  };
  renew().catch(() => {}).then(() => over.abort()); // somebody has cancelled the operation, or the attempt is over
  const progress = (progress) => (renewal.progress = progress);
  const log = (line) => ask(workers, "AddLog", { token, lines: [line] });
  try {
    const data = await countWords(await read(attempt), { signal, progress, log });
    await ask(workers, "Complete", { token, result: { contentType: "application/json", data: Buffer.from(data) } });
  } catch (error) {
    if (signal.aborted) {
      await ask(workers, "Renew", renewal); // lets the other slots stop to wait, or they would be given this attempt
      await ask(workers, "Release", { token });
    } else {
      const failure = { code: error.name, message: error.message };
      await ask(workers, "Fail", { token, error: failure, final: error instanceof TypeError });
    }
  } finally {
    over.abort();
  }
}

// Does one attempt after the other.
async function serve() {
  while (!stopping.signal.aborted) {
    try {
      const wanted = { workerId: "worker.mjs", kinds: ["count-words"] };
      const { attempts } = await ask(workers, "Acquire", wanted, stopping.signal);
      for (const attempt of attempts) await perform(attempt);
    } catch (error) {
      if (stopping.signal.aborted) return;
      console.error(error.message);
      await sleep(1000);
    }
  }
}

process.once("SIGTERM", () => stopping.abort());
await Promise.all([serve(), serve(), serve(), serve()]);
workers.close();
operations.close();
