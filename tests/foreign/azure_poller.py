"""Azure's poller, unmodified: what it makes of four operations, as JSON."""

import json
import re
import sys

from azure.core import PipelineClient
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LROBasePolling, OperationResourcePolling
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest

# The server, a template of the paths that submit, and that of the cancel: `{kind}` and `{id}` are filled in.
server, submit, cancel = sys.argv[1:]
client = PipelineClient(server)


def begin(kind, content=""):
    """As SDKs do it: send the request, and hand the answer to a poller."""
    headers = {"Content-Type": "text/plain"}
    request = HttpRequest("POST", submit.replace("{kind}", kind), headers=headers, content=content)
    request.url = client.format_url(request.url)
    initial = client._pipeline.run(request)
    polling = LROBasePolling(timeout=0, lro_algorithms=[OperationResourcePolling()])
    return LROPoller(client, initial, lambda answer: answer.http_response, polling)


def success(poller):
    answer = poller.result(60)
    body, content_type = (answer.text(), answer.headers["Content-Type"]) if answer else (None, None)
    return {"status": poller.status(), "body": body, "content_type": content_type}


def failure(poller):
    try:
        poller.result(60)
    except HttpResponseError as error:
        return {"status": poller.status(), "code": error.error.code, "message": error.error.message}
    raise AssertionError("it did not fail")


waiting = begin("nobody")
outcomes = {
    "success": success(begin("shout", "hello")),
    "nothing": success(begin("nothing")),
    "failure": failure(begin("fail")),
}
headers = waiting._polling_method._initial_response.http_response.headers
[id] = re.findall("[0-9a-f-]{36}", headers["Operation-Location"])
cancelled = client.send_request(HttpRequest("POST", server + cancel.replace("{id}", id)))
cancelled.raise_for_status()
outcomes["cancelled"] = failure(waiting)
print(json.dumps(outcomes))
