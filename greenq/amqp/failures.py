"""What can go wrong between us and RabbitMQ, in words that say what to do."""

from __future__ import annotations

import ssl

from greenq.errors import ConfigError
from greenq.serverfailures import Closed, Failure, Late, Unreachable
from greenq.tls import reason

__all__ = ["Closed", "Failure", "Late", "Refused", "Unreachable", "ending", "refusal"]


class Refused(Failure):
    """RabbitMQ refused, and closed the channel.

    Parameters:
        code: AMQP's number, such as 404.
    """

    def __init__(self, message: str | None = None, code: int = 0) -> None:
        self.code = code
        super().__init__(message)


ADVICE = {
    311: "the message is larger than the server takes (max_message_size)",
    320: "the server closed the connection",
    403: "this user may not do that: check the user, its password and its permissions (rabbitmqctl)",
    530: "the virtual host cannot be used: check its name at the end of the address, and the permissions",
    540: "the server does not know how to do that",
}


def refusal(code: int, text: str) -> Refused:
    """Translate why the server closed a channel or a connection."""
    advice = ADVICE.get(code)
    if code == 406 and "delivery acknowledgement on channel" in text and "timed out" in text:
        advice = "a task ran longer than the server's consumer_timeout: raise it, or set a time limit"
    return Refused(f"{advice} ({text})" if advice else f"it answered {code}: {text}", code)


def ending(problem: Exception, server: str) -> Failure:
    """Say what a connection to `server` ended with."""
    if isinstance(problem, Failure):
        return problem
    if isinstance(problem, (OSError, ssl.SSLError)):
        return Unreachable(f"the connection to {server} was lost: {reason(problem)}", True)
    if isinstance(problem, ConfigError):
        failure = Failure(str(problem))
        failure.__cause__ = problem
        return failure
    return Failure(f"the connection to {server} failed: {problem!r}", True)
