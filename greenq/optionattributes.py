"""A task's options as its attributes, under Celery's names: ``self.time_limit``."""

from __future__ import annotations

from greenq.options import TaskOptions

__all__ = ["OptionAttributes"]


class OptionAttributes:
    """The part of `greenq.Task` that tells its options; they are set where the task is declared."""

    options: TaskOptions

    @property
    def max_retries(self) -> int | None:
        """How often it may be retried; None for ever."""
        return self.options.max_retries

    @property
    def default_retry_delay(self) -> float:
        """Seconds that a retry waits that names no time."""
        return self.options.default_retry_delay

    @property
    def acks_late(self) -> bool:
        """Whether it is acknowledged after its run, and not before."""
        return self.options.acks_late

    @property
    def acks_on_failure(self) -> bool:
        """Whether it is acknowledged though it failed."""
        return self.options.acks_on_failure

    @property
    def acks_on_timeout(self) -> bool:
        """Whether it is acknowledged though it ran past its hard limit."""
        return self.options.acks_on_timeout

    @property
    def ignore_result(self) -> bool:
        """Whether its result is not kept."""
        return self.options.ignore_result

    @property
    def store_errors_even_if_ignored(self) -> bool:
        """Whether failures are kept although results are not."""
        return self.options.store_errors_even_if_ignored

    @property
    def track_started(self) -> bool:
        """Whether its beginning is kept."""
        return self.options.track_started

    @property
    def trail(self) -> bool:
        """Whether the results of what it sends are kept with its own."""
        return self.options.trail

    @property
    def expires(self) -> float | None:
        """Seconds after which a call is not begun; None for never."""
        return self.options.expires

    @property
    def priority(self) -> int:
        """That of calls that say none."""
        return self.options.priority

    @property
    def serializer(self) -> str:
        """That of calls that say none."""
        return self.options.serializer

    @property
    def compression(self) -> str | None:
        """That of calls that say none."""
        return self.options.compression

    @property
    def time_limit(self) -> float | None:
        """Seconds after which a run is ended; None for none."""
        return self.options.time_limit

    @property
    def soft_time_limit(self) -> float | None:
        """Seconds after which a run is told to end; None for none."""
        return self.options.soft_time_limit

    @property
    def throws(self) -> tuple[type[BaseException], ...]:
        """Exceptions that are expected."""
        return self.options.throws

    @property
    def rate_limit(self) -> str | float | None:
        """How often it may start; None for always."""
        return self.options.rate_limit

    @property
    def typing(self) -> bool:
        """Whether arguments are checked where it is called."""
        return self.options.typing
