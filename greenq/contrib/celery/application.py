"""A Celery application as one of greenq's: its tasks, its settings and its routes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import signals  # type: ignore[import-untyped]
from celery.result import ResultBase  # type: ignore[import-untyped]
from celery.utils.saferepr import saferepr as safe_repr  # type: ignore[import-untyped]
from celery.utils.serialization import jsonify  # type: ignore[import-untyped]

from greenq.app import GreenQ
from greenq.contrib.celery import stacks
from greenq.contrib.celery.addresses import BRIDGE
from greenq.contrib.celery.backend import BackendStore
from greenq.contrib.celery.differences import differences
from greenq.contrib.celery.exceptions import SoftTimeLimitExceeded
from greenq.contrib.celery.settings import routes_of, settings_of
from greenq.contrib.celery.tasks import AdoptedTask, options_of, rate_of
from greenq.errors import AppError, GreenqError
from greenq.importing import place_of
from greenq.results.base import ResultStore

__all__ = ["AdoptedApp"]

log = logging.getLogger("greenq.celery")

_ROUTED = ("routing_key", "priority", "serializer", "compression")


class AdoptedApp(GreenQ):
    """Serves the tasks of a Celery application.

    Its settings take the place of greenq's defaults: a greenq.yaml, variables and options go before them.

    Parameters:
        celery: the application.
        name: where it was found, for people.

    Attributes:
        celery: the application.

    Raises:
        ConfigError: its settings mean something that greenq does not have.
    """

    soft_limit_error = SoftTimeLimitExceeded

    def __init__(self, celery: Any, name: str) -> None:
        self.celery = celery
        self.adopted = f"Celery application {name}"
        self.adopted_from = name
        self._beneath = (f"the Celery application {name}", settings_of(celery))
        routes = self._route if celery.conf.task_routes else None
        code: dict[str, Any] = {} if routes is None else {"routes": routes}
        super().__init__(celery.main or name, shared=False, **code)

    def load_tasks(self) -> None:
        """Import every module that the application or greenq's configuration names, and adopt all tasks.

        Raises:
            AppError: one cannot be imported; one line that says where.
        """
        super().load_tasks()
        app = self.celery
        try:
            app.loader.import_default_modules()
            app.finalize()
            app.set_current()
            app.set_default()
        except GreenqError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            raise AppError(
                f"the modules of the {self.adopted} could not be imported: "
                f"{place_of(error)}: {type(error).__name__}: {text}"
            ) from error
        for name, task in app.tasks.items():
            if name not in self.tasks:
                self._adopt(task)
        stacks.install(app)

    def origin_configuration(self, defaults: bool) -> dict[str, Any]:
        """The Celery application's configuration, as Celery's workers tell it."""
        table = self.celery.conf.table(with_defaults=defaults, censored=True)
        told: dict[str, Any] = jsonify(
            table, keyfilter=lambda key: isinstance(key, str) and not key.startswith("__"),
            unknown_type_filter=safe_repr,
        )  # fmt: skip
        return told

    def origin_report(self) -> str:
        """What Celery tells of itself and of the application."""
        return str(self.celery.bugreport())

    def set_up_logs(self) -> bool:
        """Let the receivers of Celery's `setup_logging` do it, if there are any; whether there are."""
        level = logging.getLevelNamesMapping()[self.settings.log.level.upper()]
        conf = self.celery.conf
        about = {"loglevel": level, "logfile": None, "format": conf.worker_log_format, "colorize": False}
        return bool(signals.setup_logging.send(sender=None, **about))

    def differences(self) -> list[tuple[str, str]]:
        """What of the application behaves differently under greenq, and what to do about it."""
        return list(differences(self))

    def origin_settings(self) -> dict[str, Any]:
        """The settings of the Celery application, as a greenq.yaml has them, its routes among them."""
        made = {"app": self.adopted_from, **settings_of(self.celery)}
        routes = routes_of(self.celery.conf.task_routes)
        return made | {"routes": routes} if routes else made

    @property
    def results(self) -> ResultStore | None:
        """The result store: greenq's, or the application's own backend where greenq has none like it."""
        if not str(self.settings.results.url).startswith(f"{BRIDGE}:"):
            return super().results
        store = self._results
        if store is None:
            store = BackendStore(self.celery.backend, self._encode_record, self._decode_record)
            self._results, self._opened = store, True
        return store

    def _adopt(self, original: Any) -> None:
        options = options_of(original)
        if not self.celery.conf.worker_disable_rate_limits and self.throttling.available:
            options |= rate_of(original)
        self._own[original.name] = self._declared[original.name] = options
        self.composer.forget(original.name)
        self.tasks[original.name] = AdoptedTask(self, original, options)

    def _route(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None
    ) -> dict[str, Any] | None:
        """Where Celery's own router sends a call."""
        found = self.celery.amqp.router.route(dict(options), name, args, kwargs)
        queue = found.get("queue")
        if queue is None:
            return None
        told: dict[str, Any] = {"queue": getattr(queue, "name", queue)}
        told.update({key: found[key] for key in _ROUTED if found.get(key) is not None and key not in options})
        return told

    def _encode_record(self, record: Any) -> bytes:
        value = record.get("result") if isinstance(record, dict) else None
        if isinstance(value, ResultBase):
            # As Celery's backends do: what a task returns may be the result of another.
            record = {**record, "result": value.as_tuple()}
        return super()._encode_record(record)
