// A worker: counts the words of texts, slowly enough to be watched.    node worker.mjs 127.0.0.1:7420
import { status } from "@grpc/grpc-js";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, workers } from "./longrun.mjs";

const stop = new AbortController();

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

// A report of an error. The server refuses messages of more than 64 KiB.
const failure = (code, { message }, final) => ({ error: { code, message: `${message}`.slice(0, 10_000) }, final });

// Does the work, keeps its lease meanwhile, and reports; also a report that is refused. Throws if the attempt is over.
async function perform({ token, input }) {
  const renewal = { token };
  const over = new AbortController();
  const renew = async () => {
    while (!stop.signal.aborted && !(await ask(workers, "Renew", renewal)).cancel) await sleep(1000, undefined, over);
  };
  renew().then(() => over.abort(), (error) => over.signal.aborted || console.error(error.message));
  const log = (line) => ask(workers, "AddLog", { token, lines: [line] });
  try {
    const [method, end] = await countWords(input, over.signal, (progress) => (renewal.progress = progress), log).then(
      (text) => ["Complete", { result: { contentType: "application/json", data: Buffer.from(text) } }],
      (error) => (over.signal.aborted ? ["Release"] : ["Fail", failure(error.name, error, error instanceof TypeError)]),
    );
    await ask(workers, method, { token, ...end });
  } catch (error) {
    if ([status.FAILED_PRECONDITION, status.NOT_FOUND].includes(error.code)) throw error;
    await ask(workers, "Fail", { token, ...failure("REPORT_REFUSED", error, error.code === status.INVALID_ARGUMENT) });
  } finally {
    over.abort();
  }
}

// Does one attempt after the other. A response that was lost is asked for again by the name of the request.
async function serve() {
  const wanted = { workerId: "worker.mjs", kinds: ["count-words"], requestId: randomUUID() };
  while (!stop.signal.aborted) {
    try {
      const { attempts } = await ask(workers, "Acquire", wanted, stop.signal);
      wanted.requestId = randomUUID(); // by the old name, an attempt that cannot be reported would come again
      for (const attempt of attempts) await perform(attempt);
    } catch (error) {
      if (!stop.signal.aborted) console.error(error.message);
      await sleep(1000);
    }
  }
}

process.once("SIGTERM", () => stop.abort());
Promise.all([serve(), serve(), serve(), serve()]).finally(() => workers.close());
