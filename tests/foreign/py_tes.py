"""GA4GH's client, unmodified: what it makes of some tasks, as JSON."""

import json
import sys
import time

import tes

client = tes.HTTPClient(sys.argv[1], timeout=30)


def create(name, *command, **task):
    """A task of one executor; what it is to do stands in its command."""
    executor = tes.Executor(image="alpine", command=list(command))
    return client.create_task(tes.Task(name=name, executors=[executor], **task))


def plain(task):
    """Without what differs from run to run."""
    task = task.as_dict()
    task.pop("id")
    assert task.pop("creation_time", None) or task.keys() <= {"state"}, task
    for log in task.get("logs", []):
        assert log.pop("start_time"), log
        log.pop("end_time", None)
        for executor in log.get("logs", []):
            executor.pop("start_time", None)
            executor.pop("end_time", None)
    return task


outcomes = {}
info = client.get_service_info()
outcomes["service"] = [info.name, info.type["artifact"], info.type["version"]]

done = create("first", "shout", inputs=[tes.Input(path="/data/a", content="hello")], tags={"project": "x"})
assert client.wait(done, timeout=60).id == done
outcomes["views"] = {view: plain(client.get_task(done, view)) for view in ["MINIMAL", "BASIC", "FULL"]}

failed = create("second", "fail")
outcomes["failed"] = [client.wait(failed, timeout=60).state, plain(client.get_task(failed, "FULL"))["logs"]]

# `sleep` is what the handler waits for.
waiting = create("third", "sleep")
client.cancel_task(waiting)
# It waits no longer than until the task is being cancelled.
while (state := client.wait(waiting, timeout=60).state) == "CANCELING":
    time.sleep(0.1)
outcomes["cancelled"] = state

pages, token = [], None
while token != "":
    page = client.list_tasks(page_size=2, page_token=token)
    pages.append([[task.id, task.state] for task in page.tasks])
    token = page.next_page_token or ""
names = {done: "first", failed: "second", waiting: "third"}
outcomes["pages"] = [[[names[id], state] for id, state in page] for page in pages]
outcomes["listed"] = [task.name for task in client.list_tasks(view="BASIC").tasks]
try:
    client.get_task("nonesuch")
except Exception as error:
    outcomes["unknown"] = error.response.status_code
print(json.dumps(outcomes))
