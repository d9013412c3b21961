"""Post a job on the request stream, follow its events, and book its order sets. Needs redis-py; nothing else.

    MODEL=growth-60 KEY=nightly-2026-11-30 REDIS_URL=redis://127.0.0.1:6379/0 python post_and_read.py

The consumer may die anywhere: what it did not acknowledge it is given again, and the books know what they have.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import redis

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
MODEL, KEY = os.environ["MODEL"], os.environ["KEY"]
GROUP = os.environ.get("GROUP", "oms-python")
ME = "oms-1"  # one name for each consumer that runs at the same time
ORDER_SETS, EVENTS = "trimtab.order-sets", "trimtab.job-events"

client = redis.Redis.from_url(URL, protocol=2, socket_timeout=30)
# Where Redis has a user for each role, who posts is not who reads.
requests = redis.Redis.from_url(os.environ.get("REQUESTS_REDIS_URL", URL), protocol=2)
books = sqlite3.connect(os.environ.get("BOOKS", "books.db"))
books.execute("CREATE TABLE IF NOT EXISTS order_sets (id TEXT PRIMARY KEY, body BLOB NOT NULL)")


def post() -> None:
    """The same key is the same job, however often it is posted."""
    requests.xadd("trimtab.requests", {"data": json.dumps({"model_id": MODEL, "key": KEY})})


def book(entry_id: bytes, fields: dict[bytes, bytes]) -> None:
    """The id and what is done with it in one transaction; then the acknowledgement."""
    order_set = json.loads(fields[b"data"])
    with books:
        new = books.execute(
            "INSERT INTO order_sets VALUES (?, ?) ON CONFLICT DO NOTHING", (order_set["id"], fields[b"data"])
        )
        if new.rowcount:
            for order in order_set["orders"]:
                print(order["side"], order["quantity"], order["security_id"], order["price"])
    client.xack(ORDER_SETS, GROUP, entry_id)


def booked(job_id: str) -> int:
    """How many order sets of a job are in the books."""
    return books.execute("SELECT count(*) FROM order_sets WHERE id LIKE ?", (f"{job_id}:%",)).fetchone()[0]


def read_order_sets() -> None:
    """Everything there is: first what this consumer read before and did not acknowledge, then what is new."""
    try:
        client.xgroup_create(ORDER_SETS, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    for start in (b"0", b">"):
        after = start
        while entries := read_group(after):
            for entry_id, fields in entries:
                book(entry_id, fields)
            after = entries[-1][0] if start == b"0" else start


def read_group(after: bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """A few entries; none when there are no more at the moment."""
    reply = client.xreadgroup(GROUP, ME, {ORDER_SETS: after}, count=64, block=500)
    return reply[0][1] if reply else []


def events() -> Iterator[dict[str, Any]]:
    """The events of our job, from the first on. A sequence that was seen is a repeat."""
    last, seen = b"0", 0
    while True:
        for _, entries in client.xread({EVENTS: last}, count=256, block=5000) or ():
            for entry_id, fields in entries:
                last = entry_id
                event = json.loads(fields[b"data"])
                if event["key"] == KEY and event["sequence"] > seen:
                    seen = event["sequence"]
                    yield event


post()
for event in events():
    print("event:", event["event"], event["state"], event["reason"] or "")
    if event["event"] == "finished":
        break
# The end may be told before the last order set is published: read until all that is decided is there.
decided = sum(event["counts"].get(state, 0) for state in ("traded", "no_trade", "infeasible", "rejected"))
while booked(event["job_id"]) < decided:
    read_order_sets()
print(json.dumps({"job_id": event["job_id"], "state": event["state"], "order_sets": decided}))
