// Azure's poller for JavaScript, unmodified: what it makes of four operations, as JSON. The requests are those of a
// generated client, which hands the first answer to a poller (`getLongRunningPoller` in every such client).

import { createRequire } from "node:module";

const require = createRequire(`${process.env.LONGRUN_NODE_MODULES}/`);
const { createHttpPoller } = require("@azure/core-lro");
const { getClient } = require("@azure-rest/core-client");

// The server, a template of the paths that submit, and that of the cancel: `{kind}` and `{id}` are filled in.
const [server, submit, cancel] = process.argv.slice(2);
const client = getClient(server, { allowInsecureConnection: true });

function begin(kind, content = "") {
  const answer = (response) => ({
    flatResponse: response,
    rawResponse: { ...response, statusCode: Number(response.status), headers: response.headers, body: response.body },
  });
  return createHttpPoller(
    {
      sendInitialRequest: async () =>
        answer(await client.pathUnchecked(submit.replace("{kind}", kind)).post({ body: content, contentType: "text/plain" })),
      sendPollRequest: async (url) => answer(await client.pathUnchecked(url).get()),
    },
    { intervalInMs: 100 },
  );
}

const state = (poller) => poller.operationState.status;

async function success(poller) {
  const { headers, body } = await poller.pollUntilDone();
  return { state: state(poller), content_type: headers["content-type"] ?? null, body: body ?? null };
}

async function failure(poller) {
  try {
    await poller.pollUntilDone();
  } catch (error) {
    return { state: state(poller), message: error.message };
  }
  throw new Error("it did not fail");
}

const waiting = begin("nobody");
const outcomes = {
  success: await success(begin("shout", "hello")),
  nothing: await success(begin("nothing")),
  failure: await failure(begin("fail")),
};
// A poller can be taken up again, by another process as well.
await waiting.submitted();
const saved = JSON.parse(await waiting.serialize());
const [id] = saved.state.config.operationLocation.match(/[0-9a-f-]{36}/);
const cancelled = await client.pathUnchecked(server + cancel.replace("{id}", id)).post();
if (cancelled.status !== "200") throw new Error(`the cancel was answered ${cancelled.status}`);
outcomes.cancelled = await failure(waiting);
console.log(JSON.stringify(outcomes));
