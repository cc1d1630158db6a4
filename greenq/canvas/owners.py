"""What tasks and applications offer to make signatures of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from greenq.canvas.maps import chunks, xmap, xstarmap
from greenq.canvas.signature import Signature, signature
from greenq.resultset import GroupResult

__all__ = ["AppCanvas", "TaskCanvas"]


class TaskCanvas:
    """The part of `greenq.Task` that makes signatures."""

    app: Any
    name: str

    def signature(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, *more: Any, **options: Any
    ) -> Signature:
        """A signature of this task: ``add.signature((2, 2), countdown=10)``.

        Parameters:
            args, kwargs, options: see `greenq.signature`; `options` may also be given as the third.
        """
        if more:
            options = {**more[0], **options}
        immutable = options.pop("immutable", False)
        given = {**(options.pop("options", None) or {}), **options}
        app = given.pop("app", None) or self.app
        return Signature(self, args, kwargs, given, immutable=immutable, app=app)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature with these arguments: ``add.s(2, 2)``; the result of a task before it comes first."""
        return Signature(self, args, kwargs, app=self.app)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature with just these arguments, whatever comes before it."""
        return Signature(self, args, kwargs, immutable=True, app=self.app)

    def map(self, it: Iterable[Any]) -> xmap:
        """One call that runs it with each of these values."""
        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> xstarmap:
        """One call that runs it with each of these tuples of arguments."""
        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Any], n: int) -> chunks:
        """Calls that run it with each of these tuples of arguments, `n` of them in each call."""
        return chunks(self.s(), it, n, app=self.app)


class AppCanvas:
    """The part of `GreenQ` that makes signatures and results of groups."""

    def signature(self, varies: Any, *args: Any, **kwargs: Any) -> Signature:
        """A signature that this application sends; see `greenq.signature`."""
        made = signature(varies, *args, **{**kwargs, "app": self})
        made._app = self  # type: ignore[assignment]
        return made

    subtask = signature

    @property
    def GroupResult(self) -> type[GroupResult]:
        """The class of groups' results, bound to this application: ``app.GroupResult.restore(id)``."""
        return type("GroupResult", (GroupResult,), {"bound_to": self})
