"""A worker: counts the words of texts, slowly enough to be watched.    python worker.py 127.0.0.1:7420"""

import asyncio
import contextlib
import signal
import sys

import grpc
from longrun.v1 import operations_pb2 as op, operations_pb2_grpc as op_grpc, workers_pb2 as pb, workers_pb2_grpc as pb_grpc


async def count_words(text, progress, log):
    """The work. What it raises is the operation's error; to be stopped, it is cancelled where it awaits something."""
    lines = text.decode().splitlines()
    await log(f"{len(lines)} lines to read")
    for number, line in enumerate(lines, 1):
        await asyncio.sleep(0.2)
        progress.done_units, progress.total_units = number, len(lines)
    return op.Payload(content_type="application/json", data=b'{"words": %d}' % len(text.split()))


async def ask(call, request):
    """Calls until there is an answer: what a worker says of its attempt it may say again (only log lines stand there twice)."""
    while True:
        try:
            return await call(request, timeout=10, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            if error.code().name not in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"):
                raise
            await asyncio.sleep(1)


async def perform(attempt, workers, operations):
    """Does the work, keeps its lease meanwhile, and reports. Raises what the server refuses a report with."""
    token, renewal = attempt.token, pb.RenewRequest(token=attempt.token)
    log = lambda line: ask(workers.AddLog, pb.AddLogRequest(token=token, lines=[line]))

    async def work():
        text = attempt.input.data
        if attempt.input.omitted:  # because it is large
            wanted = op.ReadInputRequest(name=attempt.operation.name, attempt_token=token)
            text = b"".join([chunk.data async for chunk in operations.ReadInput(wanted)])
        return await count_words(text, renewal.progress, log)

    async def renew():
        with contextlib.suppress(grpc.aio.AioRpcError):  # a refusal says that the attempt is over
            while not (await ask(workers.Renew, renewal)).HasField("cancel"):
                await asyncio.sleep(1)
        working.cancel()

    working, renewing = asyncio.create_task(work()), asyncio.create_task(renew())
    try:
        await ask(workers.Complete, pb.CompleteRequest(token=token, result=await working))
    except asyncio.CancelledError:  # by `renew`, or because the worker stops
        await ask(workers.Renew, renewal)  # lets the other slots stop to wait, or they would be given this attempt
        await ask(workers.Release, pb.ReleaseRequest(token=token))
    except Exception as error:
        failure = op.Error(code=type(error).__name__, message=str(error))
        await ask(workers.Fail, pb.FailRequest(token=token, error=failure, final=isinstance(error, ValueError)))
    finally:
        renewing.cancel()


async def serve(workers, operations):
    """Does one attempt after the other."""
    wanted = pb.AcquireRequest(worker_id="worker.py", kinds=["count-words"], timeout={"seconds": 5})
    while not asyncio.current_task().cancelling():
        try:
            for attempt in (await workers.Acquire(wanted, timeout=10)).attempts:
                await perform(attempt, workers, operations)
        except grpc.aio.AioRpcError as error:
            print(error.code().name, error.details(), file=sys.stderr, flush=True)
            await asyncio.sleep(1)


async def main(address):
    # To be back well within a lease: gRPC by itself pauses for up to two minutes.
    async with grpc.aio.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 5_000)]) as channel, asyncio.TaskGroup() as group:
        slots = [group.create_task(serve(pb_grpc.WorkersStub(channel), op_grpc.OperationsStub(channel))) for _ in range(4)]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: [slot.cancel() for slot in slots])


asyncio.run(main(sys.argv[1]))
