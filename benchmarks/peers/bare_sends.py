"""What clients allow that only send: the message that greenq would send, already made."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.peers import Peer, inside, rabbit_url, redis_url, variant


class BareSend(Peer):
    """No worker."""

    only: ClassVar[tuple[str, ...]] = ("enqueue",)

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give no command: there is none to start."""
        return []


class BareLpush(BareSend):
    """One command for each call, over one connection."""

    name: ClassVar[str] = "(bare LPUSH, Redis)"
    variant: ClassVar[str] = "lpush"
    redis: ClassVar[bool] = True


class BarePublish(BareSend):
    """py-amqp, which does not wait for the broker."""

    name: ClassVar[str] = "(py-amqp publish, RabbitMQ)"
    variant: ClassVar[str] = "rabbit plain"
    rabbit: ClassVar[bool] = True


class BareConfirmed(BareSend):
    """py-amqp, which waits for the broker's word for each."""

    name: ClassVar[str] = "(py-amqp publish confirmed, RabbitMQ)"
    variant: ClassVar[str] = "rabbit confirmed"
    rabbit: ClassVar[bool] = True


if inside():
    import json
    import uuid
    from base64 import b64encode
    from typing import Any

    from benchmarks.redis_link import Link

    ID = str(uuid.uuid4())
    BODY = json.dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    HEADERS: dict[str, Any] = {
        "lang": "py", "task": "noop", "id": ID, "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [600, None], "root_id": ID, "parent_id": None,
        "argsrepr": "()", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": True,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip

    def push(count: int) -> None:
        properties = {
            "correlation_id": ID, "reply_to": ID, "delivery_mode": 2, "priority": 0,
            "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_tag": ID,
        }  # fmt: skip
        envelope = {
            "body": b64encode(BODY).decode(), "content-encoding": "utf-8", "content-type": "application/json",
            "headers": HEADERS, "properties": properties,
        }  # fmt: skip
        message = json.dumps(envelope).encode()
        link = Link(redis_url())
        for _ in range(count):
            link.do(b"LPUSH", b"celery", message)

    def publish(count: int, confirmed: bool) -> None:
        import amqp  # type: ignore[import-untyped, import-not-found, unused-ignore]

        from benchmarks.peers.rabbit_frames import dialled

        with dialled(rabbit_url(), confirm_publish=confirmed) as connection:
            channel = connection.channel()
            channel.queue_declare("celery", durable=True, auto_delete=False)
            # Without confirmations this is what py-amqp calls plain; a channel that closes waits for neither.
            send = channel.basic_publish_confirm if confirmed else channel.basic_publish
            for _ in range(count):
                message = amqp.Message(
                    BODY, application_headers=HEADERS, delivery_mode=2, content_type="application/json",
                    content_encoding="utf-8", correlation_id=ID,
                )  # fmt: skip
                send(message, "", "celery")

    def send_each(count: int) -> None:
        if variant() == "lpush":
            push(count)
        else:
            publish(count, confirmed=variant() == "rabbit confirmed")
