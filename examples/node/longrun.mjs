// The clients of longrun's services, made of its protos.
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { addAbortListener } from "node:events";

const protos = process.env.LONGRUN_PROTO ?? new URL("../../proto", import.meta.url).pathname;
const files = ["longrun/v1/operations.proto", "longrun/v1/workers.proto"];
const definition = loadSync(files, { includeDirs: [protos], defaults: true, enums: String, longs: Number });
const { Operations, Workers } = loadPackageDefinition(definition).longrun.v1;

// Each call may be repeated, so gRPC repeats it while no server is there; a connection that died in silence is noticed.
const again = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 1000, "initialBackoff": "0.5s", "maxBackoff": "5s",
  "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}`;
const options = {
  "grpc.service_config": again,
  "grpc-node.retry_max_attempts_limit": 1000,
  "grpc.per_rpc_retry_buffer_size": 8 << 20, // what is larger is not sent again
  "grpc.keepalive_time_ms": 30_000,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

export const connect = (address) => [Workers, Operations].map((Service) => new Service(address, credentials.createInsecure(), options));

// Makes a unary call; `signal` gives it up.
export const ask = (service, method, request, signal) =>
  new Promise((resolve, reject) => {
    const call = service[method](request, (error, answer) => (giveUp?.[Symbol.dispose](), error ? reject(error) : resolve(answer)));
    const giveUp = signal && addAbortListener(signal, () => call.cancel());
  });
