"""Runs the client and the worker of an example against a server that is killed and started again under them.

    ROOT=… EXAMPLE=python LONGRUN_BIN=… CLIENT='python client.py' WORKER='python worker.py' python3 recipes.py

CLIENT ADDRESS submit KEY TEXT prints the operation's name; watch NAME a line `REVISION STATE` for each revision; cancel NAME
nothing; result NAME the bytes. WORKER ADDRESS serves count-words, a fifth of a second for each line of a text, with progress
every second. Both talk through a gate, which tells when they knock and can hold back what the server answers.
Prints a line `case: …` for each thing that held.
"""

import json
import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import lines

DEADLINE = 100  # seconds for anything to happen: Java may take many to begin
LEASE = 30  # seconds: longer than a server is away, and a program needs to connect again
SLOW = b"one two three\n" * 15  # three seconds of work
MOST_LINES = 60  # of a worker
MOST_LINES_OF_A_WATCH = 15
SLOWER = "one two three\n" * 30


def until(what, condition):
    """Waits for what no event tells of: a condition of the store, asked for again and again."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)
    return found


class Program:
    """A child whose lines are waited for, one after the other."""

    def __init__(self, command, *arguments, **options):
        self.command = [*command, *arguments]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **options)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        ALL.append(self)

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self):
        """The next line, None after the last one."""
        return self.lines.get(timeout=DEADLINE)

    def expect(self, line):
        got = self.line()
        assert got == line, f"{self.command}: {got!r}, not {line!r}"

    def ends(self):
        """Waits for the end; returns its exit code and the lines that were left."""
        rest = []
        while (line := self.line()) is not None:
            rest.append(line)
        return self.process.wait(DEADLINE), rest

    def succeeds(self):
        code, rest = self.ends()
        assert code == 0, f"{self.command}: exit code {code}, {rest}"
        return rest

    def kill(self):
        self.process.kill()
        self.process.wait()


ALL = []


class Server:
    """A server with a store and a port that it comes back to."""

    def __init__(self, directory):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        self.program = None
        self.kills = 0

    def start(self):
        command = [os.environ["LONGRUN_BIN"], "serve", "--listen", f"127.0.0.1:{self.port}", "--log", "error"]
        command += ["--store", f"sqlite:{self.directory}/longrun.db", "--lease-duration", f"{LEASE}s"]
        self.program = Program(command, env={k: v for k, v in os.environ.items() if not k.startswith("LONGRUN_")})
        self.program.expect(f"longrun listening on {self.url}")

    def kill(self):
        self.program.kill()
        self.kills += 1

    def kill_and_start(self):
        self.kill()
        self.start()

    def ask(self, method, path, body=None, **query):
        url = f"{self.url}/v1/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, method=method, data=body, headers={"Content-Type": "text/plain"} if body else {})
        return urllib.request.urlopen(request, timeout=DEADLINE)

    def submit(self, text, **settings):
        return json.load(self.ask("POST", "kinds/count-words/operations", text, **settings))["name"]

    def operation(self, name):
        """As it is now, its settings apart."""
        page = json.load(self.ask("GET", "operations", pageSize=1000))
        return next(each for each in page["operations"] if each["name"] == name)

    def done(self, name):
        """Waits for the end of an operation, and returns it."""
        return until(f"the end of {name}", lambda: (it := self.operation(name)).get("done") and it)

    def history(self, name):
        events = json.load(self.ask("GET", f"{name}/events", page_size=1000))["events"]
        return [event["type"].removeprefix("TYPE_") for event in events]

    def begun(self, name):
        """Waits for a log line of the worker: it has the attempt."""
        until(f"a log line of {name}", lambda: "LOG" in self.history(name))

    def tell(self):
        """Prints the history of the latest operations, for who looks for what went wrong."""
        for each in json.load(self.ask("GET", "operations", pageSize=2))["operations"]:
            events = json.load(self.ask("GET", f"{each['name']}/events", page_size=1000))["events"]
            print(each["name"], *map(json.dumps, events), sep="\n    ", file=sys.stderr)

    def progress(self, name):
        """Waits until the worker has reported progress."""
        request = urllib.request.Request(f"{self.url}/v1/{name}/events", headers={"Accept": "text/event-stream"})
        with urllib.request.urlopen(request, timeout=DEADLINE) as events:
            for line in events:
                if line.startswith(b"data: ") and "progress" in json.loads(line[6:])["operation"]:
                    return
        raise AssertionError(f"{name} ended without progress")


def exactly(source, size):
    """So many bytes, or fewer at the end of the connection."""
    data = b""
    while len(data) < size and (more := source.recv(size - len(data))):
        data += more
    return data


class Gate:
    """A port that passes connections of HTTP/2 on to the server."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.changed = threading.Condition()
        self.knocks = 0
        self.held = False
        self.open = set()
        self.begun = []  # (connection to the client, stream) of each response, the latest last
        self.sent = bytearray()  # what clients have sent
        threading.Thread(target=self._accept, daemon=True).start()

    def knock(self, act):
        """Does something, then waits until somebody tries to connect."""
        with self.changed:
            before = self.knocks
        act()
        with self.changed:
            assert self.changed.wait_for(lambda: self.knocks > before, DEADLINE), "nobody connects again"

    def hold(self):
        """From now on nothing comes back from the server."""
        with self.changed:
            self.held = True

    def cut(self):
        """Ends all connections, and what was held back on them; new ones pass."""
        with self.changed:
            for each in self.open:
                shut(each)
            self.open.clear()
            self.held = False

    def reset(self):
        """Ends the latest stream as proxies do: by RST_STREAM with the code CANCEL."""
        with self.changed:
            near, stream = self.begun[-1]
            near.sendall(b"\0\0\4\3\0" + stream + b"\0\0\0\x08")

    def request_ids(self):
        """The `request_id` of each Acquire that was sent: the field after `kinds`."""
        with self.changed:
            found = re.findall(rb"(?s)\x0bcount-words\x32(.)(?=(.{255}))", self.sent + bytes(255))
            return {after[: size[0]] for size, after in found}

    def _accept(self):
        while True:
            near, _ = self.listener.accept()
            with self.changed:
                self.knocks += 1
                self.changed.notify_all()
            try:
                far = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                near.close()
                continue
            with self.changed:
                self.open |= {near, far}
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(far, near), daemon=True).start()

    def _pass(self, near, far):
        try:
            while data := near.recv(65536):
                with self.changed:
                    self.sent += data
                far.sendall(data)
        except OSError:
            pass
        shut(near)
        shut(far)

    def _pass_back(self, far, near):
        """Frame by frame, so that `reset` can send one between two others."""
        try:
            while len(head := exactly(far, 9)) == 9:
                rest = exactly(far, int.from_bytes(head[:3], "big"))
                with self.changed:
                    if self.held:
                        return  # the rest is lost; `cut` ends the connection
                    if head[3] == 1:  # HEADERS
                        self.begun.append((near, head[5:]))
                    near.sendall(head + rest)
        except OSError:
            pass
        with self.changed:
            if self.held:
                return
        shut(far)
        shut(near)


def shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Example:
    """The programs under test, each behind a gate."""

    def __init__(self, server):
        self.clients, self.workers = Gate(server), Gate(server)

    def client(self, *arguments, **options):
        return Program(shlex.split(os.environ["CLIENT"]), self.clients.address, *arguments, **options)

    def result(self, name):
        return json.loads("".join(self.client("result", name).succeeds()))

    def worker(self):
        return Program(shlex.split(os.environ["WORKER"]), self.workers.address)


def stop(worker):
    """Tells a worker to stop, and waits until it has. Java calls that 143 whatever the program does."""
    worker.process.send_signal(signal.SIGTERM)
    code, _ = worker.ends()
    assert code in (0, 128 + signal.SIGTERM), f"{worker.command}: exit code {code}"


def refuses(program, reason):
    """Waits for the end of a program, which is to be a bad one, for this reason."""
    code, lines = program.ends()
    said = " ".join(lines).upper().replace("_", "")
    assert code != 0 and reason.replace("_", "") in said, f"{program.command}: exit code {code}, {lines}"


def case(text):
    print(f"case: {text}", flush=True)


def submit_again(server, example):
    waiting = []
    example.clients.knock(lambda: waiting.append(example.client("submit", "monday", SLOWER)))
    server.start()
    [name] = waiting[0].succeeds()
    assert example.client("submit", "monday", SLOWER).succeeds() == [name]
    refuses(example.client("submit", "monday", "something else", stderr=subprocess.STDOUT), "ALREADY_EXISTS")
    case("submits to a server that is not there yet, and again: one operation")
    return name


def watch_through_kills(server, example, name):
    watcher = example.client("watch", name)
    watcher.expect("1 QUEUED")
    example.clients.knock(server.kill)
    server.start()
    worker = example.worker()
    watcher.expect("2 RUNNING")
    server.progress(name)  # not earlier: a log line whose answer is lost is sent again, and stands there twice
    for _ in range(2):
        example.clients.knock(server.kill_and_start)
    watcher.expect("3 SUCCEEDED")
    assert watcher.succeeds() == []
    assert example.result(name) == {"words": 90}
    history = server.history(name)
    assert sorted(history) == ["FINISHED", "LOG", "STARTED", "SUBMITTED"], history
    case("watches through kills of the server: each revision once and in order; the attempt goes on; the result")
    return worker


def watch_through_resets(server, example):
    name = server.submit(SLOW)
    watcher = example.client("watch", name)
    watcher.expect("1 QUEUED")
    watcher.expect("2 RUNNING")
    example.clients.reset()
    watcher.expect("3 SUCCEEDED")
    assert watcher.succeeds() == []
    case("watches through a stream that a proxy resets with CANCEL")


def refused_reports(server, example):
    """Of an error and a result that are too large, for inputs that recipes.sh adds to the work."""
    long = server.done(server.submit(b"long", max_attempts=1))
    assert long["state"] == "STATE_FAILED" and long["error"]["message"].startswith("long long"), long
    large = server.done(server.submit(b"large", max_attempts=3))
    assert (large["state"], large["attempt"]) == ("STATE_FAILED", 1), large
    assert "at most 4194304 bytes" in large["error"]["message"], large
    case("an error and a result that are too large: the operation fails for this reason")


def names_anew(server, example):
    before = example.workers.request_ids()
    for _ in range(3):
        server.done(server.submit(b"one"))
    until("another request_id after each attempt", lambda: len(example.workers.request_ids() - before) >= 3)
    case("each Acquire after an attempt has another request_id, so an attempt that could not be reported does not come again")


def acquire_again(server, example):
    example.workers.hold()
    name = server.submit(SLOW, max_attempts=1)
    until(f"a start of {name}", lambda: "STARTED" in server.history(name))  # of which the worker does not hear
    example.workers.knock(example.workers.cut)
    done = server.done(name)
    assert (done["state"], done["attempt"]) == ("STATE_SUCCEEDED", 1), done
    case("an attempt whose answer was lost on its way is asked for again, and is the same")


def report_again(server, example):
    name = server.submit(SLOW)
    server.progress(name)
    example.workers.hold()
    assert server.done(name)["state"] == "STATE_SUCCEEDED"  # of which the worker does not hear
    server.kill()
    example.workers.knock(example.workers.cut)
    server.start()
    after = server.submit(b"one")
    assert server.done(after)["state"] == "STATE_SUCCEEDED"
    history = server.history(name)
    assert history.count("STARTED") == 1 and history.count("FINISHED") == 1, history
    case("a report whose answer was lost with the server is sent again and accepted")


def report_too_late(server, example):
    name = server.submit(SLOW, attempt_timeout="2s", max_attempts=1)
    server.begun(name)
    example.workers.hold()
    failed = server.done(name)
    assert failed["error"]["code"] == "ATTEMPT_TIMEOUT", failed
    server.kill()
    example.workers.knock(example.workers.cut)
    server.start()
    return name, failed


def release(server, example, worker):
    name = server.submit(SLOW)
    server.begun(name)
    stop(worker)
    watcher = example.client("watch", name)
    for line in ["1 QUEUED", "2 RUNNING", "3 QUEUED"]:
        watcher.expect(line)
    example.clients.knock(server.kill)
    server.start()
    worker = example.worker()
    for line in ["4 RUNNING", "5 SUCCEEDED"]:
        watcher.expect(line)
    assert watcher.succeeds() == []
    assert server.operation(name)["attemptsUsed"] == 1
    case("a worker that is stopped gives its attempt back, which does not count")
    return worker


def cancel(server, example):
    name = server.submit(b"word\n" * 600)
    server.progress(name)
    watcher = example.client("watch", name)
    watcher.expect("1 QUEUED")
    watcher.expect("2 RUNNING")
    server.kill()
    cancelling = []
    example.clients.knock(lambda: cancelling.append(example.client("cancel", name)))
    server.start()
    assert cancelling[0].succeeds() == []
    watcher.expect("3 CANCELLING")
    watcher.expect("4 CANCELLED")
    assert watcher.succeeds() == []
    history = server.history(name)
    assert history.count("STARTED") == 1, history
    refuses(example.client("result", name, stderr=subprocess.STDOUT), "NOT_FOUND")
    case("a cancel is answered, and stops the work")


def inputs(server, example):
    large = server.submit(b"word " * 100_000)
    bad = server.submit(b"\xff\xfe", max_attempts=3)
    server.done(large)
    assert example.result(large) == {"words": 100_000}
    failed = server.done(bad)
    assert failed["state"] == "STATE_FAILED" and failed["attempt"] == 1, failed
    case("an input of half a megabyte; an input that is no text fails at once")


def quotes():
    """What the page of the language shows of the example stands there, letter for letter; `no_run` is of no example."""
    root, language = Path(os.environ["ROOT"]), os.environ["EXAMPLE"]
    shown = re.findall(r"```(?!sh\n)\w+\n(.*?)```", (root / f"docs/clients/{language}.md").read_text(), re.DOTALL)
    sources = [path.read_text() for path in Path().rglob("*.*") if path.suffix in (".py", ".go", ".mjs", ".java")]
    assert shown and all(any(each in source for source in sources) for each in shown), f"docs/clients/{language}.md is out of date"


def measure():
    """A right worker is short, or the protocol is to be made better; and so is a right watch."""
    of_worker, _ = lines.count(Path(), os.environ["EXAMPLE"])
    assert of_worker <= MOST_LINES, f"the worker has {of_worker} lines, and may have {MOST_LINES}"
    of_watch = lines.count_watch(Path(), os.environ["EXAMPLE"])
    assert of_watch <= MOST_LINES_OF_A_WATCH, f"the watch has {of_watch} lines, and may have {MOST_LINES_OF_A_WATCH}"


def main():
    quotes()
    measure()
    with tempfile.TemporaryDirectory(prefix="longrun-recipes-") as directory:
        server = Server(directory)
        example = Example(server)
        try:
            name = submit_again(server, example)
            worker = watch_through_kills(server, example, name)
            watch_through_resets(server, example)
            names_anew(server, example)
            refused_reports(server, example)
            acquire_again(server, example)
            report_again(server, example)
            late, failed = report_too_late(server, example)
            worker = release(server, example, worker)
            assert server.operation(late) == failed
            assert server.history(late).count("FINISHED") == 1
            case("a worker that has lost its attempt changes nothing, and goes on with the next")
            cancel(server, example)
            inputs(server, example)
            stop(worker)
        except BaseException:
            if server.program and server.program.process.poll() is None:
                server.tell()
            raise
        finally:
            for program in ALL:
                program.kill()
    print(f"the server was killed {server.kills} times", file=sys.stderr)


main()
