// A worker: counts the words of texts, slowly enough to be watched.    node worker.mjs 127.0.0.1:7420
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, connect } from "./longrun.mjs";

const [workers, operations] = connect(process.argv[2]);
const stopping = new AbortController();

// The work. What it throws is the operation's error; to be stopped, it is told so by the signal.
async function countWords(input, signal, progress, log) {
  if (input?.omitted) throw new TypeError("the input is larger than 3 MiB");
  const text = new TextDecoder("utf-8", { fatal: true }).decode(input?.data);
  const totalUnits = text.split("\n").length - 1;
  await log(`${totalUnits} lines to read`);
  for (let doneUnits = 1; doneUnits <= totalUnits; doneUnits++) {
    await sleep(200, undefined, { signal });
    progress({ doneUnits, totalUnits });
  }
  return JSON.stringify({ words: text.split(/\s+/).filter(Boolean).length });
}

// Does the work, keeps its lease meanwhile, and reports. Throws what the server refuses a report with.
async function perform({ token, input }) {
  const renewal = { token };
  const over = new AbortController();
  const renew = async () => {
    while (!stopping.signal.aborted && !(await ask(workers, "Renew", renewal)).cancel) await sleep(1000, undefined, over);
    over.abort();
  };
  renew().catch((error) => over.signal.aborted || console.error(error.message));
  const progress = (progress) => (renewal.progress = progress);
  const log = (line) => ask(workers, "AddLog", { token, lines: [line] });
  try {
    const data = Buffer.from(await countWords(input, over.signal, progress, log));
    await ask(workers, "Complete", { token, result: { contentType: "application/json", data } });
  } catch (error) {
    const failure = { code: error.name, message: error.message };
    if (over.signal.aborted) await ask(workers, "Release", { token });
    else await ask(workers, "Fail", { token, error: failure, final: error instanceof TypeError });
  } finally {
    over.abort();
  }
}

// Does one attempt after the other. A response that was lost is asked for again by the name of the request.
async function serve() {
  const wanted = { workerId: "worker.mjs", kinds: ["count-words"], requestId: randomUUID() };
  while (!stopping.signal.aborted) {
    try {
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
