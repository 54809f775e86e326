"""Verifies messages by the libraries of Standard Webhooks and CloudEvents.

Reads a JSON object from stdin: `secret`, and `messages` of `headers` and `body`. Writes what the bodies say, or fails.
"""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
webhook = Webhook(given["secret"])
said = []
for message in given["messages"]:
    headers, body = message["headers"], message["body"]
    try:
        said.append(webhook.verify(body, headers))
    except WebhookVerificationError as error:
        sys.exit(f"not signed: {error}")
    if headers["content-type"].startswith("application/cloudevents+json"):
        sent = HTTPMessage(headers=headers, body=body.encode())
        event = from_structured_event(sent, JSONFormat())
        assert event.get_id() == headers["webhook-id"], event
        assert event.get_specversion() == "1.0", event
        said[-1] = {
            "type": event.get_type(),
            "subject": event.get_subject(),
            "data": event.get_data(),
        }
json.dump(said, sys.stdout)
