"""What applying a signature comes down to: messages, and chords that the result store must know first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from greenq.asyncresult import AsyncResult
from greenq.canvas.ids import new_id
from greenq.chords import ChordOpening
from greenq.errors import InvalidOption, ResultStoreError
from greenq.message import Message
from greenq.optionchecks import call_option_names
from greenq.request import Request
from greenq.resultset import AnyResult
from greenq.sender import Sender
from greenq.throttling.uniqueness import OPTIONS as UNIQUE

__all__ = ["Composition"]


class Composition:
    """Collects what applying a signature sends; nothing is sent before `deliver`.

    Parameters:
        request: of the task that sends it, if one does.
        tolerant: options that greenq does not have are left out, for signatures that came with a message;
            otherwise they are refused.
        anew: its chords begin again, whatever is known of their ids.

    Attributes:
        messages: in the order in which they are to be published.
        openings: the chords among them, to be told to the store before that.
        children: the results that belong to the sending task's own result.
    """

    def __init__(
        self, app: Sender, request: Request | None = None, tolerant: bool = False, anew: bool = True
    ) -> None:
        self.app = app
        self.request = request
        self.messages: list[Message] = []
        self.openings: list[ChordOpening] = []
        self.children: list[AnyResult] = []
        self._tolerant = tolerant
        self._anew = anew
        app.listen()

    def add(
        self, task: str, args: Any, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> AsyncResult[Any]:
        """Add the message of one call.

        Parameters:
            options: as `Task.apply_async` takes them.

        Raises:
            InvalidOption, InvalidTaskArguments, EncodeError: see `Composer.compose`.
        """
        given = _honoured(options) if self._tolerant else dict(options)
        if not self._tolerant and not UNIQUE.isdisjoint(given):
            names = ", ".join(sorted(UNIQUE & given.keys()))
            raise InvalidOption(
                f"call of {task}: {names} is for single calls, and this is part of a workflow, where none "
                "may be left out: declare a concurrency_limit for the task, and they run one after the other"
            )
        known = self.app.tasks.get(task)
        if known is not None:
            args, kwargs = known.arguments_to_send(
                tuple(args or ()), dict(kwargs or {}), given.get("serializer")
            )
        if not given.get("task_id"):
            given["task_id"] = new_id()
        message = self.app.composer.compose(task, args, kwargs, given, self.request)
        self.messages.append(message)
        headers = message.headers
        result = AsyncResult[Any](headers["id"], self.app, None, bool(headers["ignore_result"]))
        if given.get("add_to_parent", True):
            self.children.append(result)
        return result

    def open_chord(self, group: str, size: int, shape: Any) -> None:
        """Add a chord whose members are about to be added.

        Parameters:
            size: how many members have to end.
            shape: see `ChordOpening`.
        """
        expires = self.app.settings.results.expires
        self.openings.append(ChordOpening(group, size, shape, expires, self._anew))

    def require_chords(self) -> None:
        """Refuse a chord that no result store would ever complete.

        Raises:
            ResultStoreError: no results are kept, or the store cannot count.
        """
        store = self.app.results
        if store is None:
            raise ResultStoreError(
                "a chord needs a result store that counts its members: set results.url to redis://, "
                "sqlite:// or db+ (a database)"
            )
        if store.refuses_chords is not None:
            raise ResultStoreError(store.refuses_chords)

    def announce(self) -> None:
        """Tell the store of the chords.

        Raises:
            ResultStoreError: the store fails.
        """
        if self.openings:
            store = self.app.results
            assert store is not None
            store.open_chords(self.openings, self.app.result_timeout)

    def deliver(self) -> None:
        """Tell the store of the chords, then publish.

        Raises:
            PublishError: the broker did not take some of them; what came before them is sent.
            BrokerUnreachable: nobody answers.
            ResultStoreError: the store fails; nothing is sent.
        """
        self.announce()
        self.app.publish(self.messages)
        request = self.request
        if request is not None and self.children and self.app.keeps_trail(request.task):
            request.children.extend(self.children)


def _honoured(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a signature from elsewhere that greenq has, as its own calls have them."""
    stamps = options.get("stamped_headers") or ()
    known = call_option_names()
    given = {
        name: value
        for name, value in options.items()
        if value is not None and (name in known or name in stamps)
    }
    for name in ("eta", "expires"):
        if isinstance(given.get(name), str):
            given[name] = datetime.fromisoformat(given[name])
    if given.get("countdown"):
        given.pop("eta", None)
    return given
