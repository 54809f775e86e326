"""Python's requests: sends what it is told to, follows redirects, and prints what it ended with, as JSON."""

import base64
import json
import sys

import requests

answers = []
for case in json.loads(sys.argv[1]):
    answer = requests.request(case["method"], case["url"], headers=case["headers"], data=case["body"], timeout=60)
    answers.append({
        "status": answer.status_code,
        "redirects": len(answer.history),
        "content_type": answer.headers.get("Content-Type", ""),
        "location": answer.headers.get("Location", ""),
        "body": base64.b64encode(answer.content).decode(),
    })
print(json.dumps(answers))
