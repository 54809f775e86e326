// A client: submits a text, watches what becomes of it, cancels it, fetches the result.
//
//   node client.mjs 127.0.0.1:7420 submit monday-1 "how many words are these"
//   node client.mjs 127.0.0.1:7420 watch operations/…     (or cancel, or result)
import { status } from "@grpc/grpc-js";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, metadata, operations } from "./longrun.mjs";

const [command, ...parameters] = process.argv.slice(3);
// How a stream ends that the server, a proxy or the network has cut.
const CUT = [status.UNAVAILABLE, status.INTERNAL, status.UNKNOWN, status.CANCELLED];

// Submits under a key of the caller's own: however often it is called, there is one operation.
async function submit(idempotencyKey, text) {
  const operation = await ask(operations, "Submit", { kind: "count-words", idempotencyKey, input: { text } });
  return operation.name;
}

// Yields each transition once and in order, to the last one, whatever becomes of connections and servers.
async function* watch(name) {
  for (let afterRevision = 0; ; await sleep(1000)) {
    try {
      for await (const message of operations.WatchOperation({ name, afterRevision }, metadata)) {
        afterRevision = message.revision;
        if (message.event) yield message.event;
        if (message.operation?.done) return;
      }
    } catch (error) {
      if (!CUT.includes(error.code)) throw error;
    }
  }
}

// Asks for the operation to be stopped. A watch tells when it has.
function cancel(name) {
  return ask(operations, "CancelOperation", { name, reason: "the client wants no more of it" });
}

// The bytes of the result. What broke off goes on where it was.
async function result(name) {
  for (let data = Buffer.alloc(0); ; await sleep(1000)) {
    try {
      for await (const chunk of operations.ReadResult({ name, offsetBytes: data.length }, metadata)) {
        data = Buffer.concat([data, chunk.data]);
      }
      return data;
    } catch (error) {
      if (!CUT.includes(error.code)) throw error;
    }
  }
}

try {
  if (command === "submit") console.log(await submit(...parameters));
  if (command === "watch") {
    for await (const { revision, state } of watch(...parameters)) console.log(revision, state.slice("STATE_".length));
  }
  if (command === "cancel") await cancel(...parameters);
  if (command === "result") process.stdout.write(await result(...parameters));
} catch (error) {
  console.error(status[error.code], error.message);
  process.exitCode = 1;
}
operations.close();
