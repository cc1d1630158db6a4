"""Messages that nobody should send, each with a name: some must end as dead letters, the others run."""

from __future__ import annotations

import base64
import json
from typing import Any

from greenq.message import Message

__all__ = ["envelope", "harmless", "hopeless", "unreadable"]

JSON = "application/json"
EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
BODY = f"[[1, 2], {{}}, {EMBED}]".encode()


def hopeless(task: str, queue: str = "celery") -> dict[str, Message]:
    """What carries no call that can be run: kind → message.

    Parameters:
        task: one that exists, of two arguments.
    """
    kinds = {**_bad_headers(task), **_bad_bodies(task), **_bad_embeds(task), **_bad_types(task)}
    return {name: Message(queue, *parts) for name, parts in kinds.items()}


def _good(task: str, id: str) -> dict[str, Any]:
    return {"task": task, "id": f"hopeless {id}", "retries": 0}


def _bad_headers(task: str) -> dict[str, tuple[dict[str, Any], bytes, str, str]]:
    instead: dict[str, dict[str, Any]] = {
        "a list as task": {"task": [task]}, "a number as task": {"task": 7}, "null as task": {"task": None},
        "an empty task": {"task": ""}, "an unknown task": {"task": f"{task}.nothing"},
        "a task with a NUL": {"task": f"{task}\0"}, "a task of many letters": {"task": "x" * 5000},
        "an object as id": {"id": {}}, "a number as id": {"id": 12}, "null as id": {"id": None},
        "an empty id": {"id": ""}, "an id with a NUL": {"id": "a\0b"},
        "words as limits": {"timelimit": ["soon", "now"]}, "one limit": {"timelimit": [1]},
        "a word for limits": {"timelimit": "5"}, "an endless limit": {"timelimit": [1e400, None]},
        "a negative limit": {"timelimit": [-1, None]}, "true as limit": {"timelimit": [True, None]},
        "a word as eta": {"eta": "tomorrow"}, "a list as eta": {"eta": [2030, 1, 1]},
        "a day that is none": {"eta": "2030-02-31T00:00:00"},
        "a number as expires": {"expires": 12}, "a word as expires": {"expires": "soon"},
        "a word as retries": {"retries": "many"}, "a negative number of retries": {"retries": -1},
        "half a retry": {"retries": 0.5}, "a list as group": {"group": ["g"]},
        "a word as index of the group": {"group_index": "first"}, "a number as root": {"root_id": 1},
        "an object as parent": {"parent_id": {}}, "a number as shadow": {"shadow": 5},
        "a list of arguments as text": {"argsrepr": [1, 2]}, "a word for true": {"ignore_result": "yes"},
        "a list of stamps": {"stamps": ["s"]}, "a number of stamped headers": {"stamped_headers": [1]},
    }  # fmt: skip
    made = {name: (_good(task, name) | headers, BODY, JSON, "utf-8") for name, headers in instead.items()}
    return made | {
        "no headers": ({}, BODY, JSON, "utf-8"),
        "no id": ({"task": task}, BODY, JSON, "utf-8"),
        "junk headers": ({"x": [None, {"y": [[]]}], "": 0, "lang": {}}, BODY, JSON, "utf-8"),
    }


def _bad_bodies(task: str) -> dict[str, tuple[dict[str, Any], bytes, str, str]]:
    second: dict[str, bytes] = {
        "no JSON": b"{not json", "an empty body": b"", "a cut off body": BODY[:-3],
        "too deep": b"[" * 100_000,
        "null as body": b"null", "a number as body": b"5", "a text as body": b'"text"',
        "true as body": b"true",
        "an object as body": b'{"args": [1, 2]}', "an empty list": b"[]", "a list of two": b"[[], {}]",
        "a list of four": b"[[], {}, {}, {}]", "arguments that are no list": b'["ab", {}, {}]',
        "null as arguments": b"[null, {}, {}]", "keywords that are no mapping": b"[[], [], {}]",
        "a text as keywords": b'[[], "k", {}]', "UTF-16": BODY.decode().encode("utf-16"),
        "not UTF-8": b'[["\xff\xfe"], {}, {}]', "two bodies": BODY + BODY,
        "an extended type of no kind": b'[[{"__type__": "os.system", "__value__": "true"}], {}, {}]',
        "an extended type of no value": b'[[{"__type__": "datetime", "__value__": "x"}], {}, {}]',
    }  # fmt: skip
    first: dict[str, bytes] = {
        "protocol 1 without a task": b'{"id": "1", "args": [], "kwargs": {}}',
        "protocol 1 without an id": json.dumps({"task": task, "args": [1, 2]}).encode(),
        "protocol 1 with a text as arguments": json.dumps({"task": task, "id": "1", "args": "ab"}).encode(),
        "protocol 1 with a list as keywords": json.dumps({"task": task, "id": "1", "kwargs": [1]}).encode(),
        "protocol 1 with a number as task": b'{"task": 5, "id": "1"}',
        "protocol 1 with a word as callbacks": json.dumps({"task": task, "id": "1",
        "callbacks": "x"}).encode(),
        "protocol 1 with a word as eta": json.dumps({"task": task, "id": "1", "eta": "soon"}).encode(),
    }  # fmt: skip
    return {
        **{name: (_good(task, name), body, JSON, "utf-8") for name, body in second.items()},
        **{name: ({}, body, JSON, "utf-8") for name, body in first.items()},
    }


def _bad_embeds(task: str) -> dict[str, tuple[dict[str, Any], bytes, str, str]]:
    embeds = {
        "a list as embed": "[]", "null as embed": "null", "a word as callbacks": '{"callbacks": "x"}',
        "a number among callbacks": '{"callbacks": [1]}',
        "an errback of no task": '{"errbacks": [{"args": []}]}',
        "a chain of lists": '{"chain": [[]]}', "a word as chord": '{"chord": "x"}',
        "a chord of no task": '{"chord": {"kwargs": {}}}',
    }  # fmt: skip
    return {
        name: (_good(task, name), f"[[1, 2], {{}}, {embed}]".encode(), JSON, "utf-8")
        for name, embed in embeds.items()
    }


def _bad_types(task: str) -> dict[str, tuple[dict[str, Any], bytes, str, str]]:
    good = _good(task, "of a type")
    return {
        "pickle": (good, b"\x80\x04N.", "application/x-python-serialize", "binary"),
        "a pickle that is none": (good, b"\x80\x04junk", "application/x-python-serialize", "binary"),
        "an unknown type": (good, BODY, "application/x-nothing", "utf-8"),
        "no type": (good, BODY, "", ""),
        "msgpack that is cut off": (good, b"\x93\x92\x01", "application/x-msgpack", "binary"),
        "YAML that makes objects": (
            good, b"- [!!python/object/apply:os.getpid []]\n- {}\n- {}\n", "application/x-yaml", "utf-8",
        ),
        "an unknown compression": (good | {"compression": "application/x-nothing"}, BODY, JSON, "utf-8"),
        "a broken compression": (good | {"compression": "application/x-gzip"}, BODY, JSON, "utf-8"),
        "a list as compression": (good | {"compression": [1]}, BODY, JSON, "utf-8"),
    }  # fmt: skip


def harmless(task: str, queue: str = "celery") -> dict[str, Message]:
    """What is odd, but says all that is needed, which is to add 1 and 2: kind, which is its id → message."""
    odd: dict[str, dict[str, Any]] = {
        "junk beside": {"x-junk": {"a": [None, 1.5, "ü"]}, "": "", "headers": {}},
        "another language": {"lang": "cobol"},
        "nulls": dict.fromkeys(("lang", "retries", "timelimit", "eta", "group", "argsrepr", "stamps")),
        "no limits": {"timelimit": [0, 0]},
        "a group of nobody": {"group": "g", "group_index": 10**9},
        "notes of nobody": {"x-death": "x", "x-delivery-count": "many", "delivery_count": [],
        "redelivered": 1},
    }  # fmt: skip
    second = {
        id: Message(queue, {"task": task, "id": id, **headers}, BODY, JSON, "utf-8")
        for id, headers in odd.items()
    }
    first = {
        "protocol 1": {}, "protocol 1 with nulls": {"kwargs": None, "eta": None, "retries": 0},
        "protocol 1 with junk": {"utc": "yes", "taskset": None, "timeouts": [], "queue": 5},
    }  # fmt: skip
    bodies = {id: json.dumps({"task": task, "id": id, "args": [1, 2], **more}) for id, more in first.items()}
    return second | {id: Message(queue, {}, body.encode(), JSON, "utf-8") for id, body in bodies.items()}


def envelope(message: Message, **instead: Any) -> bytes:
    """A message as text on a Redis list, however wrong it is.

    Parameters:
        instead: takes the place of parts; `-` in their names is written as `_`, and None leaves one out.
    """
    parts = {
        "body": base64.b64encode(message.body).decode(),
        "content-type": message.content_type,
        "content-encoding": message.content_encoding,
        "headers": message.headers,
        "properties": {"body_encoding": "base64", "delivery_tag": "tag"},
    } | {name.replace("_", "-"): value for name, value in instead.items()}
    return json.dumps({name: value for name, value in parts.items() if value is not None}).encode()


def unreadable(task: str) -> dict[str, bytes]:
    """What lies on a Redis list and is no message: kind → text."""
    good = Message("celery", _good(task, "on a list"), BODY, JSON, "utf-8")
    return {
        "nothing": b"", "white space": b" \n", "null": b"null", "a list": b"[]",
        "a list of lists": b"[[1], [2]]",
        "a number": b"42", "a text": b'"text"', "an empty object": b"{}", "no JSON": b"<xml/>",
        "cut off": envelope(good)[:-20], "something behind": envelope(good) + b"x",
        "not UTF-8": b"\xff\xfe{}",
        "nested": b"[" * 50_000, "pickled": b"\x80\x04\x95.",
        "no properties": envelope(good, properties=None),
        "no body": envelope(good, body=None), "no content type": envelope(good, content_type=None),
        "no content encoding": envelope(good, content_encoding=None),
        "a number as body": envelope(good, body=5), "no base64": envelope(good, body="!"),
        "an unknown encoding": envelope(good, properties={"body_encoding": "rot13"}),
        "a list as properties": envelope(good, properties=[1]),
        "a text as headers": envelope(good, headers="x"),
        "a list as headers": envelope(good, headers=[["task", task]]),
        "a number as content type": envelope(good, content_type=7),
    }  # fmt: skip
