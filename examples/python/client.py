"""A client: submits a text, watches what becomes of it, cancels it, fetches the result.

    python client.py 127.0.0.1:7420 submit monday-1 "how many words are these"
    python client.py 127.0.0.1:7420 watch operations/…     (or cancel, or result)

The address may be a URL, http://… or https://…; LONGRUN_TOKEN, if set, is the bearer token.
"""

import json
import os
import sys
import time

import grpc
from longrun.v1 import operations_pb2 as op, operations_pb2_grpc

# Each call may be repeated, so gRPC repeats it while no server is there; a connection that died in silence is noticed.
METHODS = {
    "name": [{"service": "longrun.v1.Operations"}],
    "waitForReady": True,
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.5s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    },
}
OPTIONS = [
    ("grpc.service_config", json.dumps({"methodConfig": [METHODS]})),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
METADATA = [("authorization", f"Bearer {os.environ['LONGRUN_TOKEN']}")] if os.environ.get("LONGRUN_TOKEN") else []
# How a stream ends that the server, a proxy or the network has cut.
CUT = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED


def submit(operations, key, text):
    """Submits under a key of the caller's own: however often it is called, there is one operation."""
    request = op.SubmitRequest(kind="count-words", idempotency_key=key, input=op.Payload(text=text))
    return operations.Submit(request, metadata=METADATA).name


def watch(operations, name):
    """Yields each transition once and in order, to the last one, whatever becomes of connections and servers."""
    request = op.WatchOperationRequest(name=name, after_revision=0)
    while True:
        try:
            for message in operations.WatchOperation(request, metadata=METADATA):
                request.after_revision = message.revision
                if message.HasField("event"):
                    yield message
                if message.operation.done:
                    return
        except grpc.RpcError as error:
            if error.code() not in CUT:
                raise
            time.sleep(1)


def cancel(operations, name):
    """Asks for the operation to be stopped. A watch tells when it has."""
    request = op.CancelOperationRequest(name=name, reason="the client wants no more of it")
    operations.CancelOperation(request, metadata=METADATA)


def result(operations, name):
    """The bytes of the result. What broke off goes on where it was."""
    data = b""
    while True:
        try:
            request = op.ReadResultRequest(name=name, offset_bytes=len(data))
            for chunk in operations.ReadResult(request, metadata=METADATA):
                data += chunk.data
            return data
        except grpc.RpcError as error:
            if error.code() not in CUT:
                raise
            time.sleep(1)


def connect(address):
    scheme, _, target = address.rpartition("://")
    if scheme == "https":
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(), OPTIONS)
    return grpc.insecure_channel(target, OPTIONS)


def main(address, command, *arguments):
    with connect(address) as channel:
        operations = operations_pb2_grpc.OperationsStub(channel)
        try:
            if command == "submit":
                print(submit(operations, *arguments))
            elif command == "watch":
                for message in watch(operations, *arguments):
                    state = op.Operation.State.Name(message.event.state)
                    print(message.revision, state.removeprefix("STATE_"), flush=True)
            elif command == "cancel":
                cancel(operations, *arguments)
            elif command == "result":
                sys.stdout.buffer.write(result(operations, *arguments))
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


main(*sys.argv[1:])
