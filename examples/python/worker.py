"""A worker: counts the words of texts, slowly enough to be watched.    python worker.py 127.0.0.1:7420"""

# The address may be a URL, http://… or https://…; LONGRUN_TOKEN, if set, is the bearer token.
import asyncio
import os
import signal
import sys
import uuid

import grpc
from longrun.v1 import operations_pb2 as op, workers_pb2 as pb, workers_pb2_grpc

METADATA = [("authorization", f"Bearer {os.environ['LONGRUN_TOKEN']}")] if os.environ.get("LONGRUN_TOKEN") else []


async def count_words(input, progress, log):
    """The work. What it raises is the operation's error; to be stopped, it is cancelled where it awaits something."""
    if input.omitted:
        raise ValueError("the input is larger than 3 MiB")
    lines = input.data.decode().splitlines()
    await log(f"{len(lines)} lines to read")
    for number, line in enumerate(lines, 1):
        await asyncio.sleep(0.2)
        progress.done_units, progress.total_units = number, len(lines)
    return op.Payload(content_type="application/json", data=b'{"words": %d}' % len(input.data.split()))


async def ask(call, request):
    """Calls until there is an answer: each call may be repeated (only log lines stand there twice)."""
    while True:
        try:
            return await call(request, timeout=40, wait_for_ready=True, metadata=METADATA)
        except grpc.aio.AioRpcError as error:
            if error.code().name not in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"):
                raise
            await asyncio.sleep(1)


async def report(call, request, workers):
    """Reports the end of an attempt. If the server refuses the report, reports that. Raises if the attempt is over."""
    try:
        await ask(call, request)
    except grpc.aio.AioRpcError as refused:
        if (code := refused.code().name) in ("FAILED_PRECONDITION", "NOT_FOUND"):
            raise  # the attempt is over
        await ask(workers.Fail, failure(request.token, "REPORT_REFUSED", refused.details(), code == "INVALID_ARGUMENT"))


def failure(token, code, message, final):
    """A report of an error. The server refuses messages of more than 64 KiB."""
    message = str(message)[:10_000].encode(errors="replace").decode()
    return pb.FailRequest(token=token, error=op.Error(code=code, message=message), final=final)


async def perform(attempt, workers):
    """Does the work, keeps its lease meanwhile, and reports."""
    token, renewal = attempt.token, pb.RenewRequest(token=attempt.token)
    log = lambda line: ask(workers.AddLog, pb.AddLogRequest(token=token, lines=[line]))

    async def renew():
        while not (await ask(workers.Renew, renewal)).HasField("cancel"):
            await asyncio.sleep(1)
        working.cancel()

    working = asyncio.create_task(count_words(attempt.input, renewal.progress, log))
    renewing = asyncio.create_task(renew())
    try:
        await report(workers.Complete, pb.CompleteRequest(token=token, result=await working), workers)
    except asyncio.CancelledError:  # by `renew`, or because the worker stops
        await ask(workers.Renew, renewal)  # lets the other slots stop to wait, or they would be given this attempt
        await report(workers.Release, pb.ReleaseRequest(token=token), workers)
    except Exception as error:
        if working.exception() is not error:
            raise  # the report's
        await report(workers.Fail, failure(token, type(error).__name__, error, isinstance(error, ValueError)), workers)
    finally:
        renewing.cancel()


async def serve(workers):
    """Does one attempt after the other. A response that was lost is asked for again by the name of the request."""
    wanted = pb.AcquireRequest(worker_id="worker.py", kinds=["count-words"], request_id=str(uuid.uuid4()))
    while not asyncio.current_task().cancelling():
        try:
            acquired = await ask(workers.Acquire, wanted)
            wanted.request_id = str(uuid.uuid4())  # or an attempt that cannot be reported would come again
            for attempt in acquired.attempts:
                await perform(attempt, workers)
        except grpc.aio.AioRpcError as error:
            print(error.code().name, error.details(), file=sys.stderr, flush=True)
            await asyncio.sleep(1)


def connect(address):
    scheme, _, target = address.rpartition("://")
    tls = grpc.ssl_channel_credentials() if scheme == "https" else None
    # To be back well within a lease: gRPC by itself pauses for up to two minutes.
    options = [("grpc.max_reconnect_backoff_ms", 5_000)]
    return grpc.aio.secure_channel(target, tls, options) if tls else grpc.aio.insecure_channel(target, options)


async def main(address):
    async with connect(address) as channel, asyncio.TaskGroup() as group:
        slots = [group.create_task(serve(workers_pb2_grpc.WorkersStub(channel))) for _ in range(4)]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: [slot.cancel() for slot in slots])


asyncio.run(main(sys.argv[1]))
