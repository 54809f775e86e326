// The page: the same life of an operation by each client, told to the site that it came from.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, Code, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { GrpcWebClientBase, MethodDescriptor, MethodType } from "grpc-web";

import { BadRequestSchema, ErrorInfoSchema } from "./generated/google/rpc/error_details_pb.js";
import { StatusSchema } from "./generated/google/rpc/status_pb.js";
import { Operations, Operation_State } from "./generated/longrun/v1/operations_pb.js";

const server = new URLSearchParams(location.search).get("server");

const check = (holds, what) => {
  if (!holds) throw new Error(what);
};

// What both clients do, by their three ways to call.
const lifetime = async ({ unary, watch, refused }) => {
  const submitted = await unary("submit", { kind: "shout", input: { content: { case: "text", value: "hello" } } });
  let last;
  const revisions = [];
  await watch({ name: submitted.name, afterRevision: 0n }, (message) => {
    if (message.operation) last = message.operation;
    revisions.push(Number(message.revision));
  });
  check(last.done && last.state === Operation_State.SUCCEEDED, `the watch ended at ${last?.state}`);
  check(last.result.content.value === "HELLO", `the result is ${last.result.content.value}`);
  check(revisions[0] === 1 && revisions.at(-1) === 3, `the revisions are ${revisions}`);
  const { code, info, violation } = await refused("getOperation", { name: "nonsense" });
  check(code === Code.InvalidArgument, `the code is ${code}`);
  check(info.reason === "INVALID_ARGUMENT" && info.domain === "longrun", `the reason is ${info.reason}`);
  check(violation.field === "name", `the field is ${violation.field}`);
};

const connect = () => {
  const client = createClient(Operations, createGrpcWebTransport({ baseUrl: server }));
  return {
    unary: (method, request) => client[method](request),
    watch: async (request, onMessage) => {
      for await (const message of client.watchOperation(request)) onMessage(message);
    },
    refused: async (method, request) => {
      const error = ConnectError.from(await client[method](request).then(() => undefined, (error) => error));
      const [info] = error.findDetails(ErrorInfoSchema);
      const [bad] = error.findDetails(BadRequestSchema);
      return { code: error.code, info, violation: bad.fieldViolations[0] };
    },
  };
};

const grpcWeb = (format) => {
  const client = new GrpcWebClientBase({ format });
  // Its streams need text.
  const streaming = new GrpcWebClientBase({ format: "text" });
  const describe = (name, type) => {
    const { input, output } = Operations.method[name];
    const path = `/longrun.v1.Operations/${name[0].toUpperCase()}${name.slice(1)}`;
    const encode = (message) => toBinary(input, message);
    const decode = (bytes) => fromBinary(output, bytes);
    return { path, input, method: new MethodDescriptor(path, type, Object, Object, encode, decode) };
  };
  const unary = (name, request) => {
    const { path, input, method } = describe(name, MethodType.UNARY);
    return client.unaryCall(server + path, create(input, request), {}, method);
  };
  return {
    unary,
    watch: (request, onMessage) =>
      new Promise((resolve, reject) => {
        const { path, input, method } = describe("watchOperation", MethodType.SERVER_STREAMING);
        const stream = streaming.serverStreaming(server + path, create(input, request), {}, method);
        stream.on("data", onMessage);
        stream.on("error", reject);
        stream.on("status", ({ code, details }) => code === 0 || reject(new Error(`${code} ${details}`)));
        stream.on("end", resolve);
      }),
    refused: async (name, request) => {
      const error = await unary(name, request).then(() => undefined, (error) => error);
      const coded = error.metadata["grpc-status-details-bin"];
      const status = fromBinary(StatusSchema, Uint8Array.from(atob(coded), (byte) => byte.charCodeAt(0)));
      const detail = (schema) => status.details.find(({ typeUrl }) => typeUrl.endsWith(`/${schema.typeName}`)).value;
      const info = fromBinary(ErrorInfoSchema, detail(ErrorInfoSchema));
      const bad = fromBinary(BadRequestSchema, detail(BadRequestSchema));
      return { code: error.code, info, violation: bad.fieldViolations[0] };
    },
  };
};

const tell = (outcome) => fetch("/told", { method: "POST", body: JSON.stringify(outcome) });
try {
  await lifetime(connect());
  await lifetime(grpcWeb("text"));
  await lifetime(grpcWeb("binary"));
  await tell({ passed: true });
} catch (error) {
  await tell({ error: `${error.stack ?? error}` });
}
