"""The tests of Celery's suite that a worker in another process, on Redis, cannot be asked, and why."""

from __future__ import annotations

__all__ = ["FEW_SLOTS", "FILES", "LEFT_OUT"]

FILES: dict[str, str] = {
    "test_backend.py": "tests Celery's own client of Azure: no worker takes part",
    "test_backend_leak_in_fixture_teardown.py": "about workers inside the suite's process",
    "test_beat.py": "about Celery's scheduler, which the suite runs in its own process",
    "test_cache_backend.py": "needs a memcached server, and tests Celery's own client of it",
    "test_connection_recovery.py": "about the internals of Celery's own worker",
    "test_database_backend.py": "tests Celery's own backend in the suite's process: no worker takes part",
    "test_events_state_memory_leak.py": "about Celery's own receiver of events: no worker takes part",
    "test_loader.py": "about how Celery finds modules: no worker takes part",
    "test_logfile_format.py": "starts Celery's own command",
    "test_mem_leak_in_exception_handling.py": "about tasks that run eagerly: no worker takes part",
    "test_request_backend_down.py": "about the internals of Celery's own worker",
    "test_security.py": "about Celery's signing in the suite's process: no worker takes part",
    "test_serialization.py": "starts Celery's own command",
    "test_upgrade.py": "about Celery's command that rewrites settings: no worker takes part",
    "test_worker.py": "starts Celery's own command, and its worker inside the suite's process",
}
"""File → why no worker of ours can pass or fail it."""

_STATE = "looks for the task in `celery.worker.state` of the worker's own process"
_REVOKED = "looks at, or clears, what is revoked in the memory of the worker's own process"
_LOG = "reads the records that Celery's own worker logs in the suite's process"
_SIGNAL = "connects a receiver of task_received in the worker's own process"

LEFT_OUT: dict[str, str] = {
    "test_tasks.py::test_tasks::test_send_task_without_ignore_result_uses_task_ignore_result": _STATE,
    "test_tasks.py::test_tasks::test_send_task_without_ignore_result_stores_result": _STATE,
    "test_tasks.py::test_task_redis_result_backend::test_retry_preserves_ignore_result_false": _STATE,
    "test_tasks.py::test_task_redis_result_backend::test_retry_preserves_ignore_result_true": _STATE,
    "test_tasks.py::test_tasks::test_revoked_by_headers_simple_canvas": _REVOKED,
    "test_inspect.py::test_Inspect::test_hello_stamps_received_revoked_ids_locally": _REVOKED,
    "test_inspect.py::test_Inspect::test_stats": "expects the suite's own process id, and one slot",
    "test_tasks.py::test_trace_log_arguments": _LOG,
    "test_tasks.py::test_task_replacement::test_replaced_task_nesting_level_0": _SIGNAL,
    "test_tasks.py::test_task_replacement::test_replaced_task_nesting_level_1": _SIGNAL,
    "test_tasks.py::test_task_replacement::test_replaced_task_nesting_chain": _SIGNAL,
    "test_tasks.py::test_signal_bound_method_receivers": _SIGNAL,
    "test_canvas.py::test_stamping_mechanism::test_task_received_has_access_to_stamps": _SIGNAL,
    "test_canvas.py::test_stamping_mechanism::test_linking_stamped_sig": _SIGNAL,
    "test_canvas.py::test_stamping_mechanism::test_err_linking_stamped_sig": _SIGNAL,
}
"""Test → why. They fail in the same way with Celery's own worker in a process of its own."""

FEW_SLOTS: dict[str, str] = {
    "test_tasks.py::test_tasks::test_expired": "four sleeping tasks have to keep the next one from its start",
    "test_tasks.py::test_tasks::test_revoked": "four sleeping tasks have to keep the next from its start: "
    "with a free slot it is a race, which the revocation wins only with a slow or busy worker",
}
"""Test → why it asks nothing of a worker with more than four slots."""
