"""Faults under a worker at work on RabbitMQ, in their short form."""

from __future__ import annotations

from tests.chaos.short_forms import Amnesia


class TestRabbitMQ(Amnesia):
    broker = "amqp"
