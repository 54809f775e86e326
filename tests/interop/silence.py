"""silence.py nginx|haproxy: calls through a proxy that cuts what is silent for too long.

Two servers stand behind the proxy. One gives a sign of life every 4 s, and the proxy cuts at 10 s, although the worker says
nothing for 20 s; the other has its default settings, and the proxy cuts at 30 s. Every long call is made through both, and
nothing happens for a minute. Then what each call waits for happens, and its client must receive it without having seen an
error. All calls wait at the same time. That the limits are real is shown by a watch of the server with default settings
through 10 s, which must be cut.

The environment is that of a check (see `run`), and GRPCURL is grpcurl.
"""

import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT, GRPCURL, BINARY = Path(os.environ["ROOT"]), os.environ["GRPCURL"], os.environ["LONGRUN_BIN"]
SILENCE = 60  # seconds
SHORTLY = 20  # seconds in which anything that has happened must show
CALL_DEADLINE = SILENCE + 60  # seconds

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{sections}}}
"""
NGINX_SECTION = """
  server {{
    listen 127.0.0.1:{front}{http2};
    keepalive_timeout {limit}s; client_header_timeout {limit}s; client_body_timeout {limit}s; send_timeout {limit}s;
    grpc_read_timeout {limit}s; grpc_send_timeout {limit}s; proxy_read_timeout {limit}s; proxy_send_timeout {limit}s;
    location / {{ {target} }}
  }}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
{sections}
"""
HAPROXY_SECTION = """
listen to_{front}
  timeout client {limit}s
  timeout server {limit}s
  bind 127.0.0.1:{front}{proto}
  server longrun {back}{proto}
"""


def fail(text):
    sys.exit(f"silence: {text}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server with a store of its own and no worker, so that operations wait for as long as they are let."""

    def __init__(self, folder, *arguments):
        folder.mkdir()
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--store", f"sqlite:{folder}/longrun.db", *arguments]
        log = open(folder / "log", "w")
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
        ready, _, _ = select.select([self.process.stdout], [], [], SHORTLY)
        line = self.process.stdout.readline().decode().strip() if ready else ""
        self.url = line.removeprefix("longrun listening on ")
        if not self.url.startswith("http://"):
            fail(f"the server did not start: {(folder / 'log').read_text()}")
        self.address = self.url.removeprefix("http://")

    def post(self, path, document):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(document).encode(), headers)
        with urllib.request.urlopen(request, timeout=SHORTLY) as answer:
            return json.load(answer)

    def submit(self, kind):
        return self.post("/v1/operations", {"kind": kind})["name"]

    def cancel(self, name):
        self.post(f"/v1/{name}:cancel", {})


class Fronts:
    """Where the proxy listens for a server: for gRPC, and for HTTP/1.1."""

    def __init__(self, server, limit):
        self.server, self.limit = server, limit
        self.grpc, self.http = free_port(), free_port()

    def sections(self, proxy):
        back, limit = self.server.address, self.limit
        if proxy == "nginx":
            grpc = NGINX_SECTION.format(front=self.grpc, http2=" http2", limit=limit, target=f"grpc_pass grpc://{back};")
            http = NGINX_SECTION.format(
                front=self.http, http2="", limit=limit, target=f"proxy_http_version 1.1; proxy_pass http://{back};"
            )
        else:
            grpc = HAPROXY_SECTION.format(front=self.grpc, back=back, limit=limit, proto=" proto h2")
            http = HAPROXY_SECTION.format(front=self.http, back=back, limit=limit, proto="")
        return grpc + http


def start_proxy(proxy, fronts, folder):
    folder.mkdir()
    sections = "".join(front.sections(proxy) for front in fronts)
    configuration = folder / "configuration"
    whole = NGINX if proxy == "nginx" else HAPROXY
    configuration.write_text(whole.format(folder=folder, sections=sections))
    command = ["nginx", "-p", folder, "-c"] if proxy == "nginx" else ["haproxy", "-db", "-f"]
    log = open(folder / "log", "w")
    process = subprocess.Popen([*command, configuration], stdout=log, stderr=log)
    end = time.monotonic() + SHORTLY
    for port in [port for front in fronts for port in (front.grpc, front.http)]:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    fail(f"{proxy} does not listen: {(folder / 'log').read_text()}")
                time.sleep(0.05)
    return process


def grpcurl(front, method, document):
    """The command that calls a method of longrun.v1 through the proxy; without a document it reads messages from stdin."""
    data = "@" if document is None else json.dumps(document)
    protos = ["-import-path", ROOT / "proto", "-proto", "longrun/v1/workers.proto"]
    target = [f"127.0.0.1:{front.grpc}", f"longrun.v1.{method}"]
    return [GRPCURL, "-plaintext", *protos, "-max-time", str(CALL_DEADLINE), "-d", data, *target]


class Call:
    """A client's process. Its output is a file, so that it never waits for this program."""

    count = 0

    def __init__(self, what, command, folder):
        Call.count += 1
        self.what, self.path = what, folder / f"{Call.count}.out"
        out = open(self.path, "w")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)

    def said(self):
        return self.path.read_text()

    def say(self, document):
        self.process.stdin.write(json.dumps(document).encode())
        self.process.stdin.flush()

    def expect(self, word, seconds=SHORTLY):
        """Waits until its output has the word."""
        end = time.monotonic() + seconds
        while word not in self.said():
            if time.monotonic() > end or (self.process.poll() is not None and word not in self.said()):
                fail(f"{self.what}: no {word}, exit code {self.process.poll()}:\n{self.said()}")
            time.sleep(0.05)

    def is_silent(self):
        """It goes on."""
        if self.process.poll() is not None:
            fail(f"{self.what} ended within the silence, exit code {self.process.poll()}:\n{self.said()}")

    def ends(self, code=0):
        self.process.stdin.close()
        try:
            found = self.process.wait(SHORTLY)
        except subprocess.TimeoutExpired:
            fail(f"{self.what} does not end:\n{self.said()}")
        if found != code:
            fail(f"{self.what}: exit code {found}:\n{self.said()}")


class Side:
    """All long calls to one server."""

    def __init__(self, fronts, folder):
        self.fronts, self.folder, self.server = fronts, folder, fronts.server
        self.limit = f"{fronts.limit} s"
        self.names = [self.server.submit("watched") for _ in range(3)]
        self.submitted = self.grpc("Operations/SubmitAndWatch", {"kind": "watched"})
        self.submitted.expect("TYPE_SNAPSHOT")  # from now on nothing happens
        self.watch = self.grpc("Operations/WatchOperation", {"name": self.names[0]})
        self.feed = self.grpc("Operations/WatchOperations", {"filter": "kind=watched"})
        self.events = self.curl(f"/v1/{self.names[1]}/events")
        self.all_events = self.curl("/v1/operations/events?filter=kind%3Dwatched")
        self.worker = self.grpc("Workers/Work", None)
        self.worker.say({"hello": {"workerId": "silent", "kinds": ["work"], "maxInFlight": 1}})
        command = [GRPCURL, "-plaintext", "-d", "{}", f"127.0.0.1:{fronts.grpc}", "grpc.health.v1.Health/Watch"]
        self.health = Call(f"Health/Watch, {self.limit}", command, folder)
        self.watches = [self.watch, self.feed, self.submitted, self.events, self.all_events]
        for call, word in zip(self.watches, ["SNAPSHOT", "SYNCED", "SNAPSHOT", "SNAPSHOT", "SYNCED"]):
            call.expect(f"TYPE_{word}")
        self.health.expect("SERVING")
        self.worker.expect("heartbeatInterval")
        self.beat_interval = float(re.search(r'"heartbeatInterval": "([0-9.]+)s"', self.worker.said())[1])
        self.next_beat = time.monotonic() + self.beat_interval

    def grpc(self, method, document):
        return Call(f"{method}, {self.limit}", grpcurl(self.fronts, method, document), self.folder)

    def curl(self, path):
        accept = ["-H", "Accept: text/event-stream"]
        url = f"http://127.0.0.1:{self.fronts.http}{path}"
        limit = ["--max-time", str(CALL_DEADLINE)]
        command = ["curl", "--silent", "--show-error", "--fail", "--no-buffer", *limit, *accept, url]
        return Call(f"{path}, {self.limit}", command, self.folder)

    def pass_time(self):
        for call in [*self.watches, self.worker, self.health]:
            call.is_silent()
        if time.monotonic() >= self.next_beat:
            self.worker.say({"heartbeat": {}})
            self.next_beat += self.beat_interval

    def end_silence(self):
        for call in self.watches:
            if "TRANSITION" in call.said():
                fail(f"{call.what} was not silent:\n{call.said()}")
        submitted = re.search(r'"name": "(operations/[^"]+)"', self.submitted.said())[1]
        for name in [*self.names, submitted]:
            self.server.cancel(name)
        for call in self.watches:
            call.expect("TYPE_TRANSITION")
        for call in [self.watch, self.submitted, self.events]:
            call.ends()
        work = self.server.submit("work")
        self.worker.expect(work)
        self.worker.say({"complete": {"attempt": {"operation": work, "attempt": 1}, "reportId": 7}})
        self.worker.expect('"reportId": "7"')
        self.worker.ends()
        for call in [self.feed, self.all_events, self.health]:
            call.is_silent()
            call.process.terminate()


def main():
    proxy = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="longrun-silence-") as name:
        folder = Path(name)
        processes = []
        try:
            brisk = Server(folder / "brisk", "--heartbeat-interval", "4s", "--lease-duration", "60s")
            usual = Server(folder / "usual")
            fronts = [Fronts(brisk, 10), Fronts(usual, 30), Fronts(usual, 10)]
            processes = [brisk.process, usual.process, start_proxy(proxy, fronts, folder / "proxy")]
            calls = folder / "calls"
            calls.mkdir()
            end = time.monotonic() + SILENCE
            sides = [Side(fronts[0], calls), Side(fronts[1], calls)]
            watched = {"name": sides[1].names[0]}
            waits = [
                sides[1].grpc("Operations/WaitOperation", watched),
                sides[1].grpc("Workers/Acquire", {"workerId": "silent", "kinds": ["none"]}),
            ]
            cut = Call("the watch to be cut", grpcurl(fronts[2], "Operations/WatchOperation", watched), calls)
            while time.monotonic() < end:
                for side in sides:
                    side.pass_time()
                time.sleep(0.2)
            for wait in waits:
                wait.ends()
            if cut.process.poll() in (None, 0):
                fail(f"{proxy} does not cut after 10 s:\n{cut.said()}")
            for side in sides:
                side.end_silence()
        finally:
            for process in processes:
                process.kill()


main()
