"""Celery's setting names, new and old, and what they are called here."""

from __future__ import annotations

__all__ = ["CELERY_NAMES", "celery_meaning"]

CELERY_NAMES: dict[str, tuple[str, str]] = {
    "accept_content": ("accept", ""),
    "broker_url": ("broker.url", ""),
    "broker_read_url": ("broker.url", ""),
    "broker_write_url": ("broker.url", ""),
    "broker_connection_timeout": ("broker.timeout", ""),
    "broker_pool_limit": ("", "connections are bounded without a setting; delete it"),
    "beat_schedule": ("", "periodic tasks are not part of this file; delete it"),
    "enable_utc": ("", "times are always UTC; delete it"),
    "timezone": ("", "times are always UTC; delete it"),
    "imports": ("imports", ""),
    "include": ("imports", ""),
    "result_backend": ("results.url", ""),
    "result_accept_content": ("accept", ""),
    "result_compression": ("results.compression", ""),
    "result_expires": ("results.expires", ""),
    "result_extended": ("results.extended", ""),
    "result_serializer": ("results.serializer", ""),
    "task_acks_late": ("tasks.acks_late", ""),
    "task_allow_error_cb_on_chord_header": ("tasks.errbacks_on_headers", ""),
    "task_always_eager": ("tasks.eager", ""),
    "task_annotations": ("annotations", "options by task name or pattern"),
    "task_compression": ("tasks.compression", ""),
    "task_create_missing_queues": ("tasks.create_missing_queues", ""),
    "task_inherit_parent_priority": ("tasks.inherit_priority", ""),
    "task_default_routing_key": ("tasks.routing_key", ""),
    "task_default_priority": ("tasks.priority", ""),
    "task_default_queue": ("tasks.queue", ""),
    "task_ignore_result": ("tasks.ignore_result", ""),
    "task_protocol": ("", "protocol 2 is written, 1 and 2 are read; delete it"),
    "task_publish_retry": ("broker.publish_timeout", "sending is confirmed, or an error after this time"),
    "task_queues": ("queues", "entries by name; worker.queues lists those that a worker takes from"),
    "task_reject_on_worker_lost": ("worker.max_deliveries", "a dead process's messages always return"),
    "task_routes": ("routes", "a list of {match: pattern, queue: name} or {function: module:name}"),
    "task_serializer": ("tasks.serializer", ""),
    "task_soft_time_limit": ("tasks.soft_time_limit", ""),
    "task_time_limit": ("tasks.time_limit", ""),
    "task_track_started": ("tasks.track_started", ""),
    "control_exchange": ("control.namespace", ""),
    "event_exchange": ("events.exchange", ""),
    "task_send_sent_event": ("events.sent", ""),
    "worker_enable_remote_control": ("control.enabled", ""),
    "worker_send_task_events": ("events.tasks", ""),
    "worker_concurrency": ("worker.concurrency", ""),
    "worker_hijack_root_logger": ("", "a worker always logs as log.level and log.format say; delete it"),
    "worker_log_format": ("log.format", "text or json"),
    "worker_max_memory_per_child": ("worker.max_memory", "with its unit: Celery's number counts KiB"),
    "worker_max_tasks_per_child": ("worker.max_tasks", "counted for a whole process, not for each child"),
    "worker_pool": ("worker.pool", ""),
    "worker_prefetch_multiplier": ("worker.prefetch", "a number of messages, not a factor"),
    "worker_soft_shutdown_timeout": ("worker.shutdown_timeout", ""),
    "visibility_timeout": ("worker.lease", "a living process renews it, so it may be short"),
}
"""Name → the key here (empty if there is none), and a remark."""

_OLD = {
    "always_eager": "task_always_eager",
    "acks_late": "task_acks_late",
    "annotations": "task_annotations",
    "beat_schedule": "beat_schedule",
    "concurrency": "worker_concurrency",
    "create_missing_queues": "task_create_missing_queues",
    "default_queue": "task_default_queue",
    "ignore_result": "task_ignore_result",
    "max_tasks_per_child": "worker_max_tasks_per_child",
    "message_compression": "task_compression",
    "pool": "worker_pool",
    "prefetch_multiplier": "worker_prefetch_multiplier",
    "queues": "task_queues",
    "routes": "task_routes",
    "schedule": "beat_schedule",
    "task_result_expires": "result_expires",
    "track_started": "task_track_started",
}
"""What differs, behind CELERY_, CELERYD_ and CELERYBEAT_, from the lower-case names of today."""


def celery_meaning(name: str) -> tuple[str, str] | None:
    """What a Celery setting is called here.

    Parameters:
        name: ``broker_url``, or the old ``CELERYD_CONCURRENCY``, or Django's ``CELERY_BROKER_URL``.

    Returns:
        The dotted key here and a remark, each empty if there is none; or None if Celery has no such name.
    """
    lower = name.lower()
    if lower in CELERY_NAMES:
        return CELERY_NAMES[lower]
    prefix, _, rest = lower.partition("_")
    if prefix not in ("celery", "celeryd", "celerybeat") or not rest:
        return None
    return CELERY_NAMES.get(_OLD.get(rest, rest))
