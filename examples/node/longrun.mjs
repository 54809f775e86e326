// The clients of longrun's services, made of its protos, for the server that the program's first argument names:
// host:port, http://host:port, or https://host:port. LONGRUN_TOKEN, if set, is the bearer token.
import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { addAbortListener } from "node:events";

const protos = process.env.LONGRUN_PROTO ?? new URL("../../proto", import.meta.url).pathname;
const rules = { includeDirs: [protos], defaults: true, enums: String, longs: Number };
const { Operations, Workers } = loadPackageDefinition(loadSync("longrun/v1/workers.proto", rules)).longrun.v1;

// Each call may be repeated, so gRPC repeats it while no server is there; a connection that died in silence is noticed.
const options = {
  "grpc.service_config": `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 1000, "initialBackoff": "1s",
    "maxBackoff": "5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}`,
  "grpc-node.retry_max_attempts_limit": 1000,
  "grpc.per_rpc_retry_buffer_size": 8 << 20, // what is larger is not sent again
  "grpc.keepalive_time_ms": 30_000,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

const [, scheme, target] = /^(?:(https?):\/\/)?(.*)/.exec(process.argv[2]);
const security = scheme === "https" ? credentials.createSsl() : credentials.createInsecure();
export const [workers, operations] = [Workers, Operations].map((Service) => new Service(target, security, options));

// What each call carries.
const token = process.env.LONGRUN_TOKEN;
export const metadata = Metadata.fromHttp2Headers(token ? { authorization: `Bearer ${token}` } : {});

// Makes a unary call; `signal` gives it up.
export const ask = (service, method, request, signal) =>
  new Promise((resolve, reject) => {
    const answered = (error, answer) => (giveUp?.[Symbol.dispose](), error ? reject(error) : resolve(answer));
    const call = service[method](request, metadata, answered);
    const giveUp = signal && addAbortListener(signal, () => call.cancel());
  });
