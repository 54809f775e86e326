"""Google's client library, unmodified, over gRPC, over gRPC with asyncio, and over REST: how its operation futures end."""

import asyncio
import concurrent.futures
import importlib.metadata
import os
import sys

import grpc
import requests
from google.api import httpbody_pb2
from google.api_core import exceptions, operation, operation_async, operations_v1
from google.api_core.retry import AsyncRetry, Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, struct_pb2

# Stubs of this project's own, as anybody would make them; Google's come with its library.
sys.path.insert(0, os.environ["SCRATCH"])
from longrun.v1 import metadata_pb2, operations_pb2 as longrun  # noqa: E402

SERVER, TARGET = os.environ["LONGRUN_URL"], os.environ["LONGRUN_ADDRESS"]

# Its own schedule, but that it begins sooner and ends the test in time.
SOON = {"initial": 0.05, "multiplier": 1.5, "maximum": 1.0, "timeout": 60}
METADATA = metadata_pb2.OperationMetadata
STATE = longrun.Operation.State.Name


def submit(kind, content=""):
    """Submits, and returns the name that Google's clients take."""
    url = f"{SERVER}/v1/kinds/{kind}/operations"
    answer = requests.post(url, headers={"Content-Type": "text/plain"}, data=content, timeout=10).json()
    return f"tenants/{answer['tenant']}/{answer['name']}"


def complete(kind, document):
    """Does the work of the next operation of a kind: completes it with JSON."""
    acquired = requests.post(f"{SERVER}/v1/kinds/{kind}:acquire?wait=30s", timeout=40)
    acquired.raise_for_status()
    requests.post(f"{acquired.headers['Location']}:complete", json=document, timeout=10).raise_for_status()


def of_response(response):
    """A response by its type and what it says."""
    if isinstance(response, httpbody_pb2.HttpBody):
        return [response.content_type, response.data.decode()]
    if isinstance(response, struct_pb2.Value):
        return ["value", response.struct_value["a"]]
    assert isinstance(response, empty_pb2.Empty), response
    return ["empty"]


def of_error(error):
    """An exception by its class, its code, its message, and the reason in its details."""
    status = error.errors[0]
    details = [any_.type_url.split("/")[1] for any_ in status.details]
    return [type(error).__name__, status.code, error.message, details]


def future_of(client, name, result_type):
    """A future of an operation, as generated clients make it of what a method returns."""
    polling = Retry(predicate=if_exception_type(operation.polling._OperationNotComplete), **SOON)
    first = client.get_operation(name)
    return operation.from_gapic(first, client, result_type, metadata_type=METADATA, polling=polling)


def life(client):
    """The futures of operations that end in every way."""
    outcomes = {}
    done = future_of(client, submit("shout", "hello"), httpbody_pb2.HttpBody)
    outcomes["result"] = of_response(done.result())
    assert done.done() and not done.cancelled() and done.exception() is None
    outcomes["metadata"] = [done.metadata.operation.kind, STATE(done.metadata.operation.state)]
    value = future_of(client, submit("python-json"), struct_pb2.Value)
    complete("python-json", {"a": 1.5})
    outcomes["json"] = of_response(value.result())
    outcomes["nothing"] = of_response(future_of(client, submit("nothing"), empty_pb2.Empty).result())
    outcomes["exception"] = of_error(future_of(client, submit("fail"), empty_pb2.Empty).exception())

    waiting = future_of(client, submit("nobody"), empty_pb2.Empty)
    assert STATE(waiting.metadata.operation.state) == "STATE_QUEUED"
    try:
        waiting.result(timeout=0.3)
    except concurrent.futures.TimeoutError:
        outcomes["timeout"] = waiting.done()
    assert waiting.cancel()
    outcomes["cancelled"] = waiting.cancelled()
    outcomes["cancelled exception"] = of_error(waiting.exception())
    assert not waiting.cancel(), "it is done"

    client.delete_operation(waiting.operation.name)
    try:
        client.get_operation(waiting.operation.name)
    except exceptions.NotFound as gone:
        outcomes["deleted"] = type(gone).__name__
    return outcomes


def with_grpc():
    with grpc.insecure_channel(TARGET) as channel:
        client = operations_v1.OperationsClient(channel)
        outcomes = life(client)
        listed = client.list_operations("tenants/default", "kind=python-many")
        pages = [[it.name for it in page] for page in listed.pages]
        outcomes["pages"] = [len(page) for page in pages]
        assert len({name for page in pages for name in page}) == 60
    return outcomes


def with_rest():
    transport = operations_v1.OperationsRestTransport(
        host=SERVER, credentials=AnonymousCredentials(), url_scheme="http"
    )
    client = operations_v1.AbstractOperationsClient(transport=transport)
    outcomes = life(client)
    listed = client.list_operations("tenants/default", "kind=python-many", page_size=25)
    outcomes["pages"] = [len(page.operations) for page in listed.pages]
    try:
        client.list_operations("tenants/default", "nonsense=1")
    except exceptions.BadRequest as bad:
        outcomes["refused"] = [bad.reason, bad.domain]
    return outcomes


async def with_asyncio():
    async with grpc.aio.insecure_channel(TARGET) as channel:
        client = operations_v1.OperationsAsyncClient(channel)

        async def begin(name, result_type):
            unready = if_exception_type(operation_async.async_future._OperationNotComplete)
            soon = AsyncRetry(predicate=unready, **SOON)
            first = await client.get_operation(name)
            return operation_async.from_gapic(first, client, result_type, metadata_type=METADATA, retry=soon)

        outcomes = {}
        done = await begin(submit("shout", "hello"), httpbody_pb2.HttpBody)
        outcomes["result"] = of_response(await done.result())
        outcomes["metadata"] = [done.metadata.operation.kind, STATE(done.metadata.operation.state)]
        failed = await begin(submit("fail"), empty_pb2.Empty)
        outcomes["exception"] = of_error(await failed.exception())
        waiting = await begin(submit("nobody"), empty_pb2.Empty)
        assert await waiting.cancel()
        outcomes["cancelled"] = await waiting.cancelled()
        outcomes["cancelled exception"] = of_error(await waiting.exception())
        name = waiting.operation.name
        await client.delete_operation(name)
        try:
            await client.get_operation(name)
        except exceptions.NotFound as gone:
            outcomes["deleted"] = type(gone).__name__
        return outcomes


def waits():
    """WaitOperation, which none of the futures calls, by the stub of Google's own."""
    with grpc.insecure_channel(TARGET) as channel:
        wait = channel.unary_unary(
            "/google.longrunning.Operations/WaitOperation",
            request_serializer=operations_pb2.WaitOperationRequest.SerializeToString,
            response_deserializer=operations_pb2.Operation.FromString,
        )
        done = wait(operations_pb2.WaitOperationRequest(name=submit("shout", "hello")), timeout=30)
        still = wait(operations_pb2.WaitOperationRequest(name=submit("nobody")), timeout=1)
        return [done.done, done.WhichOneof("result"), still.done, still.WhichOneof("result")]


RESULT = ["text/plain; charset=utf-8", "HELLO"]
METADATA_OF_DONE = ["shout", "STATE_SUCCEEDED"]


def ended(unknown, cancelled):
    """What became of operations, where these classes are the exceptions."""
    return {
        "result": RESULT,
        "metadata": METADATA_OF_DONE,
        "exception": [unknown, 2, "no", ["google.rpc.ErrorInfo"]],
        "cancelled": True,
        "cancelled exception": [cancelled, 1, "the operation was cancelled", ["google.rpc.ErrorInfo"]],
        "deleted": "NotFound",
    }


def same(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: got {got}\nexpected {expected}")


for _ in range(60):
    submit("python-many")
# The future that timed out gave up alone: its operation went on.
LIFE = ended("Unknown", "Cancelled") | {"json": ["value", 1.5], "nothing": ["empty"], "timeout": False}
same("gRPC", with_grpc(), LIFE | {"pages": [50, 10]})
same("REST", with_rest(), LIFE | {"pages": [25, 25, 10], "refused": ["INVALID_ARGUMENT", "longrun"]})
# It tells exceptions apart by their codes alone.
same("asyncio", asyncio.run(with_asyncio()), ended("GoogleAPICallError", "GoogleAPICallError"))
same("WaitOperation", waits(), [True, "response", False, None])
for package in ["google-api-core", "grpcio"]:
    print(f"client: {package} {importlib.metadata.version(package)}")
print("case: gRPC and REST: result, JSON result, no result, exception, metadata, time-out, cancel, delete, pages")
print("case: asyncio: result, exception, metadata, cancel, delete")
print("case: WaitOperation")
