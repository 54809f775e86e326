// google-gax for Node.js, unmodified: how its operations end. Protos are read at run time, as its generated clients do.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { env } from 'node:process';

// Packages are where the check's lock file was installed.
const require = createRequire(`${env.SCRATCH}/node_modules/`);
const gax = require('google-gax');
const { LongrunningDescriptor, OperationsClient, Status, createBackoffSettings, lro, operation } = gax;
const grpc = gax.grpc;
const protobuf = gax.protobuf;

const root = new protobuf.Root();
root.resolvePath = (_, target) => `${env.ROOT}/proto/${target}`;
root.loadSync(['longrun/v1/metadata.proto', 'google/api/httpbody.proto']);
const METADATA = root.lookupType('longrun.v1.OperationMetadata');
const BODY = root.lookupType('google.api.HttpBody');
const STATE = root.lookupEnum('longrun.v1.Operation.State').values;

const [servicePath, port] = env.LONGRUN_ADDRESS.split(':');
const client = lro({ sslCreds: grpc.credentials.createInsecure() }).operationsClient({
  servicePath,
  port: Number(port),
  sslCreds: grpc.credentials.createInsecure(),
});
assert(client instanceof OperationsClient);
const decoder = type => type.decode.bind(type);
const descriptor = new LongrunningDescriptor(client, decoder(BODY), decoder(METADATA));

/** Submits, and returns the name that Google's clients take. */
async function submit(kind, body = '') {
  const headers = { 'Content-Type': 'text/plain' };
  const answer = await fetch(`${env.LONGRUN_URL}/v1/kinds/${kind}/operations`, { method: 'POST', headers, body });
  const { tenant, name } = await answer.json();
  return `tenants/${tenant}/${name}`;
}

/** An operation that is there, as generated clients make it of what a method returns. */
async function begin(kind, body, totalMillis = 30_000) {
  const [first] = await client.getOperation({ name: await submit(kind, body) });
  // initial, multiplier and maximum of the delay; then those of calls, which it does not use, and the total time.
  return operation(first, descriptor, createBackoffSettings(50, 1.5, 1000, null, null, null, totalMillis));
}

const done = await begin('shout', 'hello');
const [result, metadata, raw] = await done.promise();
assert.equal(Buffer.from(result.data).toString(), 'HELLO');
assert.equal(metadata.operation.state, STATE.STATE_SUCCEEDED);
assert.equal(raw.response.type_url, 'type.googleapis.com/google.api.HttpBody');

const failed = await begin('fail');
await assert.rejects(failed.promise(), { code: Status.UNKNOWN, message: 'no' });

// Progress is metadata of other bytes: there is none while nothing changes.
const impatient = await begin('nobody', '', 2000);
impatient.on('progress', () => assert.fail('progress of an operation that waits'));
await assert.rejects(impatient.promise(), { code: Status.DEADLINE_EXCEEDED });
assert.equal((await client.getOperation({ name: impatient.name }))[0].done, false);

const waiting = await begin('nobody');
const ended = assert.rejects(waiting.promise(), { code: Status.CANCELLED, message: 'the operation was cancelled' });
await client.cancelOperation({ name: waiting.name });
await ended;

await client.deleteOperation({ name: waiting.name });
await assert.rejects(client.getOperation({ name: waiting.name }), {
  code: Status.NOT_FOUND,
  reason: 'OPERATION_NOT_FOUND',
  domain: 'longrun',
});

for (let count = 0; count < 60; count++) await submit('node-many');
const sizes = [];
let request = { name: 'tenants/default', filter: 'kind=node-many', pageSize: 25 };
while (request) {
  const [page, next] = await client.listOperations(request, { autoPaginate: false });
  sizes.push(page.length);
  request = next;
}
assert.deepEqual(sizes, [25, 25, 10]);
const [all] = await client.listOperations({ name: 'tenants/default', filter: 'kind=node-many' });
assert.equal(new Set(all.map(each => each.name)).size, 60);

console.log(`client: google-gax ${gax.version}`);
console.log(`client: @grpc/grpc-js ${require('@grpc/grpc-js/package.json').version}`);
console.log('case: result, exception, metadata, no progress while nothing changes, time-out, cancel, delete, pages');
client.close?.();
process.exit(0);
