"""What the guard lets through to Celery, and what it sets aside."""

import base64
import json
from typing import Any

import pytest

from worker.guarded_redis import is_envelope


def envelope(**changes: object) -> dict[str, Any]:
    body = base64.b64encode(json.dumps([[], {}, {}]).encode()).decode()
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"id": "1", "task": "trimtab.run"},
        "properties": {"delivery_tag": "t", "delivery_info": {}, "body_encoding": "base64"},
        **changes,
    }


def test_a_celery_envelope_passes() -> None:
    assert is_envelope(envelope())


STRAYS: dict[str, object] = {
    "nothing": None,
    "a list": [1, 2],
    "a number": 7,
    "a text": "rebalance everything",
    "a request in plain JSON": {"model_id": "m", "key": "k"},
    "no headers": {k: v for k, v in envelope().items() if k != "headers"},
    "headers without a task": envelope(headers={"id": "1"}),
    "a body that is not base64": envelope(body="%%%"),
    "a body that is not text": envelope(body=5),
    "base64 of bytes that are no text": envelope(body=base64.b64encode(b"\xff\xfe").decode()),
    "an unknown body encoding": envelope(
        properties={"delivery_tag": "t", "delivery_info": {}, "body_encoding": "rot13"}
    ),
    "no delivery tag": envelope(properties={"delivery_info": {}, "body_encoding": "base64"}),
    "delivery info that is no object": envelope(
        properties={"delivery_tag": "t", "delivery_info": [], "body_encoding": "base64"}
    ),
}


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS.keys())
def test_a_stray_message_does_not_pass(stray: object) -> None:
    assert not is_envelope(stray)
