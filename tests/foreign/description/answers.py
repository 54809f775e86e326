"""Holds a server's answers against its own OpenAPI document, throughout the lives of some operations.

The document is taken by its word: what it does not list must not come, and what it lists must."""

import sys
import time

import requests
import schemathesis
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error

SERVER = sys.argv[1]
# What no client can bring about, or only by a long wait or a crowd; and what any resource answers alike.
RARE = {"401", "408", "429", "500", "503", "504", "414", "421"}
# What a server comes to that is set up in another way: roles of callers, no place for keys, shares and limits, no metrics.
OTHERWISE = {("GET", "403"), ("POST", "501"), ("GET", "501"), ("DELETE", "501")}
WITH_PLACES = ("/keys", "/shares", "/v1/limits", "/v1/webhooks", "/v1/deliveries", ":pause", ":resume")

document = requests.get(f"{SERVER}/openapi.json", timeout=10).json()
validate(document)


def close(schema):
    """Lets an object have no properties but those that are listed."""
    if isinstance(schema, dict):
        if "properties" in schema and "@type" not in schema["properties"]:
            assert set(schema.get("required", [])) <= set(schema["properties"]), schema
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)


for name, schema in document["components"]["schemas"].items():
    # Problems have more facts by name.
    if name != "Problem":
        close(schema)
description = schemathesis.openapi.from_dict(document)
seen = set()


def ask(method, template, status, headers=None, data=None, query="", **names):
    """Asks, and checks the answer by the document."""
    url = SERVER + template.format(**names) + query
    answer = requests.request(method, url, headers=headers, data=data, allow_redirects=False, timeout=60)
    allowed = status if isinstance(status, list) else [status]
    assert answer.status_code in allowed, f"{method} {url}: {answer.status_code} {answer.text}"
    case = description[template][method].Case(path_parameters=names)
    # A failed operation may answer 500 in its own name.
    case.validate_response(answer, excluded_checks=[not_a_server_error])
    seen.add((method, template, str(answer.status_code)))
    return answer


TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}
EVENTS = {"Accept": "text/event-stream"}
OF_KIND = "/v1/kinds/{kind}/operations"
OPERATIONS = "/v1/operations"
OF_ONE = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", ":cancel"),
    ("POST", ":retry"),
    ("POST", ":run"),
    ("GET", "/status"),
    ("GET", "/result"),
    ("GET", "/input"),
    ("GET", "/events"),
]
PARENTS = ["/v1/operations/{id}", "/v1/tenants/{tenant}/operations/{id}"]
# The operation itself is Google's under its tenant.
OF_BOTH = {":retry", "/status", "/result", "/input", "/events"}
NOBODY = "00000000-0000-7000-8000-000000000000"


def submit(kind, data="", query="", headers=None):
    headers = TEXT | (headers or {})
    return ask("POST", OF_KIND, 202, headers, data, query, kind=kind).json()["name"].split("/")[1]


def expired(operation):
    """The operation, once its retention is up. The server tells no client of that."""
    began = time.monotonic()
    while ask("GET", PARENTS[0] + "/status", [200, 202, 410], id=operation).status_code != 410:
        assert time.monotonic() - began < 20, "it was not removed"
        time.sleep(0.02)
    return operation


def life_of(one):
    """What there is to ask of an operation, by one of its two names."""

    def about(method, part, status, headers=None, data=None, query="", **names):
        parent = one if part in OF_BOTH else PARENTS[0]
        return ask(method, parent + part, status, headers, data, query, tenant="default", **names)

    # While it waits for a worker that there is not.
    waiting = submit("nobody", "hello", "?label=team=maps&priority=7&queue_timeout=1h&max_attempts=2")
    known = {"If-None-Match": about("GET", "", 202, id=waiting).headers["ETag"]}
    for part in ["", "/status", "/result"]:
        about("GET", part, 304, known, id=waiting)
    about("GET", "", 412, {"If-Match": '"9"'}, id=waiting)
    about("GET", "/status", 200, id=waiting)
    about("GET", "/result", 202, {"Prefer": "wait=0"}, id=waiting)
    about("GET", "", 202, {"Prefer": "wait=0"}, query="?view=BASIC", id=waiting)
    about("DELETE", "", 409, id=waiting)
    about("POST", ":retry", 409, id=waiting)
    about("POST", ":cancel", 415, TEXT, "why", id=waiting)
    about("POST", ":cancel", 413, JSON, " " * 3_000_000, id=waiting)
    about("POST", ":cancel", 403, {"Origin": "http://elsewhere.example"}, id=waiting)
    about("POST", ":cancel", 412, {"If-Match": '"9"'}, id=waiting)
    about("POST", ":cancel", 200, JSON | {"If-Match": known["If-None-Match"]}, '{"reason": "enough"}', id=waiting)
    about("GET", "/result", 499, id=waiting)
    about("GET", "/status", 200, id=waiting)

    # While it is put off.
    later = submit("nobody", query="?start_in=1h")
    about("POST", ":run", 415, TEXT, "now", id=later)
    about("POST", ":run", 413, JSON, " " * 3_000_000, id=later)
    about("POST", ":run", 403, {"Origin": "http://elsewhere.example"}, id=later)
    about("POST", ":run", 412, {"If-Match": '"9"'}, id=later)
    about("POST", ":run", 202, id=later)

    # While its worker is at work.
    stuck = submit("stuck")
    while about("GET", "/status", 200, id=stuck).json()["status"] != "Running":
        time.sleep(0.05)
    about("GET", "/events", 200, EVENTS, id=stuck)
    about("POST", ":cancel", 202, id=stuck)
    about("GET", "/result", 499, query="?wait=30s", id=stuck)

    # When it is done: with a result, without one, not at all.
    done = submit("shout", "hello")
    about("GET", "", 303, query="?wait=30s&view=FULL", id=done)
    about("POST", ":run", 200, id=done)
    about("GET", "/status", 200, id=done)
    assert about("GET", "/result", 200, id=done).text == "HELLO"
    assert about("GET", "/result", 206, {"Range": "bytes=1-2"}, id=done).text == "EL"
    about("GET", "/result", 416, {"Range": "bytes=9-"}, id=done)
    assert about("GET", "/input", 200, id=done).text == "hello"
    assert about("GET", "/input", 206, {"Range": "bytes=-2"}, id=done).text == "lo"
    about("GET", "/input", 416, {"Range": "bytes=9-"}, id=done)
    without = ask("POST", OPERATIONS, 202, JSON, '{"kind": "nothing"}').json()["name"]
    about("GET", "/input", 204, id=without.split("/")[1])
    for part in ["/status", "/result", "/input"]:
        about("GET", part, 304, {"If-None-Match": "*"}, id=done)
        about("GET", part, 412, {"If-Match": '"9"'}, id=done)
    about("GET", "/events", 200, id=done)
    about("GET", "/events", 200, query="?page_size=1", id=done)
    about("GET", "/events", 200, EVENTS | {"Last-Event-ID": "0"}, id=done)
    about("GET", "/events", 204, EVENTS | {"Last-Event-ID": "3"}, id=done)
    about("GET", "/events", 400, EVENTS | {"Last-Event-ID": "9"}, id=done)
    about("GET", "/result", 204, query="?wait=30s", id=submit("nothing"))
    failed = submit("fail")
    about("GET", "/result", 500, query="?wait=30s", id=failed)
    about("GET", "/status", 200, id=failed)
    about("GET", "/events", 200, EVENTS, id=failed)

    # Once more, and gone.
    about("POST", ":retry", 202, id=done)
    key = {"Idempotency-Key": f"again {one}"}
    about("POST", ":retry", 303, key | {"Prefer": "wait=30"}, id=done)
    about("POST", ":retry", 422, key, id=failed)
    about("POST", ":retry", 413, JSON, " " * 3_000_000, id=done)
    about("POST", ":retry", 415, TEXT, "why", id=done)
    about("POST", ":retry", 412, {"If-Match": '"9"'}, id=done)
    about("DELETE", "", 412, {"If-Match": '"9"'}, id=done)
    about("POST", ":retry", 403, {"Origin": "http://elsewhere.example"}, id=done)
    about("DELETE", "", 403, {"Origin": "http://elsewhere.example"}, id=done)
    about("DELETE", "", 204, id=done)
    gone = expired(submit("shout", query="?retention=0s"))
    for method, part in OF_ONE:
        about(method, part, 410, id=gone)
        about(method, part, 404, id=NOBODY)
        about(method, part, 400, id="no-id")


def googles():
    """What Google's client libraries ask."""
    one, every = PARENTS[1], "/v1/tenants/{tenant}/operations"

    def about(method, part, status, headers=None, data=None, query="", id=None, tenant="default"):
        names = {"tenant": tenant, "id": id} if id else {"tenant": tenant}
        template = one + part if id else every
        return ask(method, template, status, headers, data, query, **names)

    elsewhere = {"Origin": "http://elsewhere.example"}
    waiting = submit("nobody")
    about("GET", "", 200, id=waiting)
    about("DELETE", "", 400, id=waiting)
    about("POST", ":cancel", 400, TEXT, "why", id=waiting)
    about("POST", ":cancel", 403, elsewhere, id=waiting)
    about("POST", ":cancel", 200, JSON, id=waiting)
    assert about("GET", "", 200, query="?%24alt=json", id=waiting).json()["error"]["code"] == 1
    about("DELETE", "", 403, elsewhere, id=waiting)
    about("DELETE", "", 200, id=waiting)
    done = submit("shout", "hello")
    ask("GET", PARENTS[0] + "/result", 200, query="?wait=30s", id=done)
    assert about("GET", "", 200, id=done).json()["response"]["data"] == "SEVMTE8="
    about("GET", "", 304, {"If-None-Match": "*"}, id=done)
    about("GET", "", 400, {"If-Match": '"9"'}, id=done)
    for method, part in [("GET", ""), ("DELETE", ""), ("POST", ":cancel")]:
        about(method, part, 404, id=waiting if method != "POST" else NOBODY)
        about(method, part, 400, id="no-id")
    token = about("GET", "", 200, query="?pageSize=1").json()["nextPageToken"]
    about("GET", "", 200, query=f"?pageSize=1&pageToken={token}")
    about("GET", "", 400, query="?filter=nonsense%3D1")
    about("GET", "", 404, tenant="other")
    about("GET", "", 501, query="?returnPartialSuccess=true")


def submissions():
    """Both ways to submit, and how they are refused."""
    elsewhere = {"Origin": "http://elsewhere.example"}
    body = '{"kind": "shout", "input": {"json": {"a": [1, null]}}, "labels": {"team": "maps"}}'
    for template, headers, data in [(OPERATIONS, JSON, body), (OF_KIND, TEXT, "hello")]:

        def post(status, more=None, data=data, query=""):
            return ask("POST", template, status, headers | (more or {}), data, query, kind="shout")

        key = {"Idempotency-Key": f'"{template}"'}
        post(202, {"Prefer": "respond-async"})
        post(303, key | {"Prefer": "wait=30"})
        post(303, key)
        post(422, key, data.replace("maps", "mips").replace("hello", "hullo"))
        post(400, query="?piority=3")
        post(403, elsewhere)
        post(413, data=" " * 3_000_000)
    ordinary = submit("nobody")
    for parent, status in [(NOBODY, 404), (ordinary, 409)]:
        ask("POST", OPERATIONS, status, JSON, '{"kind": "shout", "parent": "operations/%s"}' % parent)
        ask("POST", OF_KIND, status, TEXT, "hello", f"?parent={parent}", kind="shout")
    ask("POST", OPERATIONS, 415, TEXT, body)
    ask("POST", OPERATIONS, 415, JSON | {"Content-Encoding": "br"}, body)
    ask("POST", OF_KIND, 202, TEXT | {"Content-Encoding": "gzip"}, "any", kind="nobody")
    ask("POST", OPERATIONS, 400, JSON, '{"kind": "1", "settings": {"priority": 101}}')


def batches():
    """Many at once, as a batch or each by itself."""
    every, key = "/v1/batches", {"Idempotency-Key": "nightly"}
    batch = '{"batch": {"rule": "RULE_ALL"}, "requests": [{"kind": "shout", "input": {"text": "hello"}}]}'
    stored = ask("POST", every, 202, JSON | key, batch).json()
    parent = stored["batch"]["name"].split("/")[1]
    assert stored["results"][0]["operation"]["parent"] == stored["batch"]["name"]
    ask("POST", every, [202, 303], JSON | key, batch)
    ask("POST", every, 422, JSON | key, batch.replace("hello", "hullo"))
    ask("POST", every, 200, JSON, '{"requests": [{"kind": "shout"}, {"kind": "1"}]}')
    ask("POST", every, 400, JSON, '{"batch": {"maxFailures": "1"}, "requests": [{"kind": "shout"}]}')
    ask("POST", every, 403, JSON | {"Origin": "http://elsewhere.example"}, batch)
    ask("POST", every, 413, JSON, " " * 30_000_000)
    ask("POST", every, 415, TEXT, batch)
    done = ask("GET", PARENTS[0], 303, query="?wait=30s", id=parent).json()
    ask("POST", every, 303, JSON | key, batch)
    assert done["children"]["succeeded"] == "1", done
    ask("POST", PARENTS[0] + ":retry", 409, id=parent)


ACQUIRE = "/v1/kinds/{kind}:acquire"
ATTEMPT = "/v1/attempts/{token}"
OF_ATTEMPT = [
    ("GET", ""),
    ("GET", "/input"),
    ("POST", ":renew"),
    ("POST", ":log"),
    ("POST", ":complete"),
    ("POST", ":fail"),
    ("POST", ":release"),
]


def attempts():
    """What a worker without a stream asks and says."""
    elsewhere = {"Origin": "http://elsewhere.example"}

    def acquire(member=""):
        # A submission as JSON may be without an input.
        ask("POST", OPERATIONS, 202, JSON, '{"kind": "by-hand", "settings": {"retention": "0s"}%s}' % member)
        return ask("POST", ACQUIRE, 200, query="?wait=30s&worker_id=curl", kind="by-hand").json()["token"]

    ask("POST", ACQUIRE, 204, kind="by-hand")
    ask("POST", ACQUIRE, 400, query="?lease_duration=8d", kind="by-hand")
    ask("POST", ACQUIRE, 403, elsewhere, kind="by-hand")
    token = acquire(', "input": {"text": "hello"}')

    def of(method, part, status, headers=None, data=None, query=""):
        return ask(method, ATTEMPT + part, status, headers, data, query, token=token)

    of("GET", "", 200)
    assert of("GET", "/input", 200).text == "hello"
    assert of("GET", "/input", 206, {"Range": "bytes=1-2"}).text == "el"
    of("GET", "/input", 416, {"Range": "bytes=9-"})
    of("POST", ":renew", 200)
    of("POST", ":renew", 200, JSON, '{"progress": {"percent": 40}}')
    of("POST", ":renew", 415, TEXT, "alive")
    of("POST", ":log", 204, TEXT, "one\ntwo")
    of("POST", ":log", 204, JSON, '{"lines": ["three"]}')
    for part in [":renew", ":log", ":fail"]:
        of("POST", part, 413, JSON, " " * 3_000_000)
        of("POST", part, 415, JSON | {"Content-Encoding": "br"}, "{}")
    of("POST", ":complete", 413, TEXT, " " * 3_000_000)
    for method, part in OF_ATTEMPT:
        ask(method, ATTEMPT + part, 400, token="forged")
        if method == "POST":
            of(method, part, 403, elsewhere)
    of("POST", ":complete", 204, TEXT, "HELLO")
    token = acquire()
    of("GET", "/input", 204)
    of("POST", ":release", 204)
    token, old = ask("POST", ACQUIRE, 200, query="?wait=30s", kind="by-hand").json()["token"], token
    for method, part in OF_ATTEMPT:
        if part != ":release":
            ask(method, ATTEMPT + part, 200 if part == ":renew" else 409, token=old)
    of("POST", ":fail", 204, TEXT, "no room", "?code=Full&retry_delay=0s")
    token = ask("POST", ACQUIRE, 200, query="?wait=30s", kind="by-hand").json()["token"]
    ask("POST", ATTEMPT + ":release", 409, token=old)
    of("POST", ":fail", 204, JSON, '{"error": {"code": "Full"}, "final": true}')
    # Its retention is up as soon as it is done; and one that somebody has deleted.
    began = time.monotonic()
    while of("GET", "", [409, 410]).status_code != 410:
        assert time.monotonic() - began < 20, "it was not removed"
        time.sleep(0.02)
    for method, part in OF_ATTEMPT:
        of(method, part, 200 if part == ":renew" else 410)
    submit("by-hand")
    attempt = ask("POST", ACQUIRE, 200, query="?wait=30s", kind="by-hand").json()
    token = attempt["token"]
    of("POST", ":complete", 204)
    ask("DELETE", PARENTS[0], 204, id=attempt["operation"]["name"].split("/")[1])
    for method, part in OF_ATTEMPT:
        of(method, part, 200 if part == ":renew" else 404)


def lists():
    """Pages and streams of many."""
    query = "?filter=kind%3Dshout&page_size=1"
    token = ask("GET", OPERATIONS, 200, query=query).json()["nextPageToken"]
    ask("GET", OPERATIONS, 200, query=f"{query}&pageToken={token}")
    ask("GET", OPERATIONS, 200, query="?view=FULL&order_by=end_time")
    ask("GET", OPERATIONS, 400, query="?filter=nonsense%3D1")
    ask("GET", "/v1/operations/events", 200)
    ask("GET", "/v1/operations/events", 200, {"Last-Event-ID": "seen"}, query="?filter=kind%3Dshout")
    ask("GET", "/v1/operations/events", 400, query="?filter=%3D")
    ask("GET", "/livez", 200)
    ask("GET", "/readyz", 200)
    ask("GET", "/openapi.json", 200)
    ask("GET", "/openapi.json", 400, query="?a=b")


def keys():
    """What administrators do."""
    all_keys, one = "/v1/keys", "/v1/keys/{key_id}:revoke"
    made = ask("POST", all_keys, 201, JSON, '{"roles": ["submit", "read"], "name": "a check"}').json()
    ask("POST", all_keys, 400, JSON, '{"roles": ["root"]}')
    ask("POST", all_keys, 415, TEXT, "roles")
    ask("POST", all_keys, 413, JSON, '{"roles": ["read"], "name": "%s"}' % ("x" * (10 << 20)))
    ask("POST", all_keys, 403, {**JSON, "Origin": "https://evil.example"}, '{"roles": ["read"]}')
    ask("GET", all_keys, 200, query="?page_size=1")
    ask("GET", all_keys, 400, query="?page_size=-1")
    ask("POST", one, 200, key_id=made["key"]["keyId"])
    ask("POST", one, 404, key_id="nobodys")
    ask("POST", one, 400, query="?a=b", key_id=made["key"]["keyId"])
    ask("POST", one, 403, {"Origin": "https://evil.example"}, key_id=made["key"]["keyId"])


def limits():
    """What operators change while servers run."""
    every, one = "/v1/limits", "/v1/limits/{what}"
    ask("POST", every, 200, JSON, '{"what": "outstanding", "tenant": "acme", "most": "7"}')
    ask("POST", every, 400, JSON, '{"what": "luck", "most": "7"}')
    ask("POST", every, 415, TEXT, "outstanding")
    ask("GET", every, 200)
    ask("GET", every, 400, query="?a=b")
    ask("DELETE", one, 200, query="?tenant=acme", what="outstanding")
    ask("DELETE", one, 404, query="?tenant=acme", what="outstanding")
    ask("DELETE", one, 400, query="?tenant=A", what="outstanding")
    ask("DELETE", one, 403, {"Origin": "https://evil.example"}, what="outstanding")
    ask("POST", every, 403, JSON | {"Origin": "https://evil.example"}, '{"what": "outstanding", "most": "7"}')
    ask("POST", every, 413, JSON, " " * 10_000_000)


EVIL = {"Origin": "https://evil.example"}


def shares_of(one):
    """How an operation is shared, by one of its two names."""
    operation = submit("nobody")
    every, revoke = one + "/shares", one + "/shares/{share_id}:revoke"

    def about(method, template, status, *rest, id=operation, **names):
        return ask(method, template, status, *rest, tenant="default", id=id, **names)

    share = about("POST", every, 201, JSON, '{"ttl": "60s"}').json()["share"]["shareId"]
    about("POST", every, 400, JSON, '{"ttl": "-1s"}')
    about("POST", every, 403, JSON | EVIL, "{}")
    about("POST", every, 413, JSON, " " * 10_000_000)
    about("POST", every, 415, TEXT, "60s")
    about("GET", every, 200)
    about("GET", every, 400, None, None, "?a=b")
    about("POST", revoke, 400, None, None, "?a=b", share_id=share)
    about("POST", revoke, 403, EVIL, share_id=share)
    about("POST", revoke, 204, share_id=share)
    about("POST", revoke, 404, share_id=share)
    for id, status in [(NOBODY, 404), (expired(submit("shout", query="?retention=0s")), 410)]:
        about("POST", every, status, JSON, "{}", id=id)
        about("GET", every, status, id=id)
        about("POST", revoke, status, id=id, share_id=share)


def shares():
    """What somebody sees who has no more than a URL."""
    url = "/v1/shares/{token}"

    def shared(operation):
        return ask("POST", PARENTS[0] + "/shares", 201, JSON, '{"ttl": "60s"}', id=operation).json()["token"]

    def done(kind, data=""):
        operation = submit(kind, data)
        ask("GET", PARENTS[0] + "/status", 200, query="?wait=30s", id=operation)
        return operation

    waiting = shared(submit("nobody"))
    known = {"If-None-Match": ask("GET", url, 202, token=waiting).headers["ETag"]}
    ask("GET", url, 304, known, token=waiting)
    ask("GET", url, 412, {"If-Match": '"9"'}, token=waiting)
    ask("GET", url + "/result", 202, token=waiting)
    ask("GET", url + "/events", 200, EVENTS, token=waiting)
    full = shared(done("shout", "hello"))
    seen = ask("GET", url, 303, token=full)
    assert "input" not in seen.json() and "idempotencyKey" not in seen.json(), seen.text
    known = {"If-None-Match": ask("GET", url + "/status", 200, token=full).headers["ETag"]}
    ask("GET", url + "/status", 304, known, token=full)
    known = {"If-None-Match": ask("GET", url + "/result", 200, token=full).headers["ETag"]}
    ask("GET", url + "/result", 304, known, token=full)
    for part in ["/status", "/result"]:
        ask("GET", url + part, 412, {"If-Match": '"9"'}, token=full)
    ask("GET", url + "/result", 206, {"Range": "bytes=1-2"}, token=full)
    ask("GET", url + "/result", 416, {"Range": "bytes=9-"}, token=full)
    ask("GET", url + "/events", 204, EVENTS | {"Last-Event-ID": "3"}, token=full)
    ask("GET", url + "/result", 204, token=shared(done("nothing")))
    for part in ["", "/status", "/result", "/events"]:
        ask("GET", url + part, 400, query="?a=b", token=full)
        ask("GET", url + part, 404, token="nobodys")
    token = shared(brief := submit("shout", "hello", "?retention=2s"))
    expired(brief)
    for part in ["", "/status", "/result", "/events"]:
        ask("GET", url + part, 410, token=token)


def metrics():
    """What the server counts."""
    ask("GET", "/metrics", 200)
    ask("GET", "/metrics", 200, {"Accept": "application/openmetrics-text; version=1.0.0"}, query="?a=b")


def standing():
    """How work stands."""
    for path in ["/v1/kinds", "/v1/workers"]:
        ask("GET", path, 200)
        ask("GET", path, 400, query="?a=b")
    for path in ["/v1/kinds/{kind}:pause", "/v1/kinds/{kind}:resume"]:
        ask("POST", path, 204, kind="nobody")
        ask("POST", path, 400, None, None, "?a=b", kind="nobody")
        ask("POST", path, 403, EVIL, kind="nobody")


def webhooks():
    """Who is told of transitions."""
    every, one, secret = "/v1/webhooks", "/v1/webhooks/{webhook_id}", "/v1/webhooks/{webhook_id}/secret"
    deliveries, redeliver = "/v1/deliveries", "/v1/deliveries/{delivery_id}:redeliver"
    webhook = '{"url": "https://hooks.example.com/longrun"}'
    id = ask("POST", every, 201, JSON, webhook).json()["webhook"]["webhookId"]
    ask("POST", every, 400, JSON, '{"url": "no URL"}')
    ask("POST", every, 415, TEXT, "https://hooks.example.com")
    ask("POST", every, 403, JSON | EVIL, webhook)
    ask("POST", every, 413, JSON, " " * 10_000_000)
    for path in [every, deliveries]:
        ask("GET", path, 200)
        ask("GET", path, 400, query="?a=b")
    ask("GET", secret, 200, webhook_id=id)
    ask("GET", secret, 400, query="?a=b", webhook_id=id)
    ask("GET", secret, 404, webhook_id="nobodys")
    submit("shout")
    until = time.monotonic() + 60
    while not (told := ask("GET", deliveries, 200).json().get("deliveries")):
        assert time.monotonic() < until, "nobody is told"
    delivery = told[0]["deliveryId"]
    ask("POST", redeliver, 200, delivery_id=delivery)
    ask("POST", redeliver, 404, delivery_id="nobodys")
    ask("POST", redeliver, 400, None, None, "?a=b", delivery_id=delivery)
    ask("POST", redeliver, 403, EVIL, delivery_id=delivery)
    for act in [":rotate", ":pause", ":resume"]:
        ask("POST", one + act, 200, webhook_id=id)
        ask("POST", one + act, 404, webhook_id="nobodys")
        ask("POST", one + act, 400, None, None, "?a=b", webhook_id=id)
        ask("POST", one + act, 403, EVIL, webhook_id=id)
    ask("DELETE", one, 400, None, None, "?a=b", webhook_id=id)
    ask("DELETE", one, 403, EVIL, webhook_id=id)
    ask("DELETE", one, 204, webhook_id=id)
    ask("DELETE", one, 404, webhook_id=id)


def methods():
    """What every resource has in common."""
    operation = submit("shout")
    # It is over, so that two answers in a row are of one state.
    ask("GET", PARENTS[0] + "/result", 204, query="?wait=30s", id=operation)
    submit("by-hand")
    token = ask("POST", ACQUIRE, 200, query="?wait=30s", kind="by-hand").json()["token"]
    for template, methods in document["paths"].items():
        names = {"id": operation, "tenant": "default", "kind": "shout", "token": token, "key_id": "nobodys"}
        names |= {"share_id": "nobodys", "what": "outstanding", "webhook_id": "nobodys", "delivery_id": "nobodys"}
        allow = ask("OPTIONS", template, 204, **names).headers["Allow"].split(",")
        assert set(allow) == {method.upper() for method in methods}, f"{template}: {allow}"
        if "get" in methods:
            answer = requests.get(SERVER + template.format(**names), allow_redirects=False, timeout=30)
            ask("HEAD", template, answer.status_code, **names)
        url = SERVER + template.format(**names)
        refused = requests.patch(url, timeout=10)
        assert refused.status_code == 405 and refused.headers["Allow"].split(",") == allow, template


submissions()
batches()
for one in PARENTS:
    life_of(one)
googles()
attempts()
lists()
keys()
limits()
for one in PARENTS:
    shares_of(one)
shares()
metrics()
standing()
webhooks()
methods()
listed = {
    (method.upper(), template, status)
    for template, methods in document["paths"].items()
    for method, operation in methods.items()
    for status in operation["responses"]
    if method not in ("head", "options") and status not in RARE and status != "default"
    # Another tenant's list is not found by those who are no operators.
    and (method.upper(), template, status) != ("GET", "/v1/operations", "404")
    and not (
        (method.upper(), status) in OTHERWISE and (status == "403" or any(it in template for it in WITH_PLACES))
    )
    and (template, status) != ("/metrics", "404")
}
missing = sorted(listed - seen)
assert not missing, f"listed, but never answered: {missing}"
print(len(seen))
