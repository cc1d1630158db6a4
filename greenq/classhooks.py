"""What a class of tasks may override, to be told how its tasks' runs go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from greenq.failures import ExceptionInfo

__all__ = ["ClassHooks"]


class ClassHooks:
    """Celery's hooks of a task's class; one that is not overridden costs nothing.

    They run where the task runs, while its time limits go on. What they raise is logged and changes nothing
    of the task's end, but for `before_start`, which belongs to the run: if it raises, the task has failed.
    """

    has_own_call: ClassVar[bool] = False
    """The class overrides ``__call__``."""

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called just before the function.

        Parameters:
            args, kwargs: what it gets.
        """

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called when it has returned.

        Parameters:
            retval: what it returned.
        """

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called when it has failed: it raised, ran past its hard limit, or its process died.

        Parameters:
            exc: why.
            einfo: the same with its traceback as text.
        """

    def on_retry(
        self,
        exc: BaseException | None,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called when it will run again.

        Parameters:
            exc: why, if that was told.
        """

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """Called after `on_success` or `on_failure`.

        Parameters:
            status: SUCCESS or FAILURE.
            retval: what it returned, or its exception.
            einfo: None, as Celery passes it.
        """
