"""What schemathesis is to know of the server that it tests. LONGRUN_URL says where it is."""

import os
import re
import zlib

import requests
import schemathesis
from schemathesis import GenerationMode

SERVER = os.environ["LONGRUN_URL"]


def submit(kind, wait=10):
    url, headers = f"{SERVER}/v1/kinds/{kind}/operations", {"Prefer": f"wait={wait}"}
    answer = requests.post(url, headers=headers, allow_redirects=False, timeout=20)
    return answer.json()["name"].split("/")[1]


# With a result, without one, failed, and waiting.
OPERATIONS = [submit("shout"), submit("nothing"), submit("fail"), submit("nobody", wait=0)]
OF_PAGES = {"page_size", "page_token"}
OF_STREAMS = {"include_progress", "view", "last_event_id"}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Names what there is, and does not wait for long."""
    wait = (case.query or {}).get("wait")
    if isinstance(wait, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?", wait):
        case.query["wait"] = "1ms"
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    names = case.path_parameters or {}
    if "tenant" in names:
        names["tenant"] = "default"
    is_of_events = case.path.endswith("/{id}/events")
    # Later phases know ids from answers.
    if "id" in names and case.meta.phase.name.value == "fuzzing" and case.method != "DELETE":
        # The events of what waits would last.
        known = OPERATIONS[:-1] if is_of_events else OPERATIONS
        names["id"] = known[zlib.crc32(names["id"].encode()) % len(known)]
    if is_of_events:
        # A page and a stream have parameters of their own.
        is_page = not OF_PAGES.isdisjoint(case.query)
        for name in OF_STREAMS if is_page else OF_PAGES:
            case.query.pop(name, None)
        if not is_page:
            case.headers["Accept"] = "text/event-stream"


@schemathesis.check
def fails_in_the_operations_name(ctx, response, case):
    """A 5xx is the operation's own, unless it says that something is not done here."""
    if response.status_code >= 500 and response.status_code != 501:
        source = response.headers.get("longrun-error-source")
        assert source == ["operation"], f"the server failed: {response.status_code} {source}"
