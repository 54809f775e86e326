"""OpenAI's client, unmodified: what it makes of responses in the background, as JSON."""

import json
import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)


def create(input, **more):
    return client.responses.create(model="shout", input=input, background=True, **more)


def finished(response):
    """As the documentation has it: ask until it is neither queued nor in progress."""
    while response.status in {"queued", "in_progress"}:
        time.sleep(0.1)
        response = client.responses.retrieve(response.id)
    return response


outcomes = {}
begun = create("hello", metadata={"a": "b"})
assert begun.id.startswith("resp_") and begun.status in {"queued", "in_progress"}, begun
done = finished(begun)
assert done.id == begun.id and done.created_at == begun.created_at
outcomes["completed"] = [done.status, done.output_text, done.model, done.metadata, done.background]
[item] = client.responses.input_items.list(done.id).data
outcomes["input"] = item.content[0].text

failed = finished(create("fail"))
outcomes["failed"] = [failed.status, failed.error.code, failed.error.message, failed.output_text]

waiting = create("sleep")
client.responses.cancel(waiting.id)
outcomes["cancelled"] = finished(waiting).status

# A stream, from the beginning and taken up again in its midst.
events = list(create("streamed", stream=True))
numbers = [event.sequence_number for event in events]
assert numbers == sorted(set(numbers)), numbers
id = events[0].response.id
outcomes["stream"] = [event.type for event in events]
outcomes["text"] = "".join(event.delta for event in events if event.type == "response.output_text.delta")
outcomes["final"] = events[-1].response.output_text
for event in events:
    rest = list(client.responses.retrieve(id, stream=True, starting_after=event.sequence_number))
    assert [later.to_dict() for later in rest] == [later.to_dict() for later in events if later.sequence_number > event.sequence_number], rest
with client.responses.stream(response_id=id, starting_after=numbers[0]) as stream:
    outcomes["accumulated"] = [event.type for event in stream][-1]

client.responses.delete(done.id)
try:
    client.responses.retrieve(done.id)
except openai.NotFoundError as error:
    outcomes["deleted"] = error.code
print(json.dumps(outcomes))
