"""Every setting of Celery's, and what becomes of it when greenq serves the application.

Source: celery/app/defaults.py (``NAMESPACES``); a test asserts that none is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["MEANINGS", "Meaning"]

Kind = Literal["mapped", "kept", "needless", "different"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What becomes of one setting.

    Parameters:
        kind: ``mapped`` to a setting of greenq's; ``kept`` by Celery's own code, which goes on sending and
            asking for results in the application; ``needless``, as greenq has no use for it, and nothing
            changes; ``different``, as something changes that its author should know.
        text: greenq's setting, or the reason.
    """

    kind: Kind
    text: str


def _mapped(text: str) -> Meaning:
    return Meaning("mapped", text)


def _kept(text: str) -> Meaning:
    return Meaning("kept", text)


def _needless(text: str) -> Meaning:
    return Meaning("needless", text)


def _different(text: str) -> Meaning:
    return Meaning("different", text)


_TASK = _mapped("the task's own option, as Celery resolves it")
_ROUTES = _kept("calls, and what follows tasks in workflows, go where Celery's own router says")
_SENDING = _kept("how the application sends its calls")
_BACKEND = _kept("results go through Celery's own backend, which reads it")
_BEAT = _kept("celery beat reads it, and goes on as it is")
_CONNECTION = _needless(
    "a worker connects again for ever, waiting longer each time; broker.patience ends that"
)
_EVENTS = _kept("names the queues of events; Celery's programs that listen read it")
_CONTROL = _kept("names the queues of remote control; Celery's programs read it")
_LOGS = _different("a worker logs as log.level and log.format say, or as receivers of setup_logging do")
_RETRIES = _needless("what cannot be stored waits, and is stored when the store is back")
_LOOP = _different("greenq's worker has one loop; nothing can be put in its place")
_TLS_PARTS = _mapped("results.url")
_REDIS = _needless("greenq's client has one connection for each purpose, and bounds every call by itself")
_CHILDREN = _needless("greenq looks after the processes of the prefork pool itself")

MEANINGS: dict[str, Meaning] = {
    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────
    "accept_content": _mapped("accept"),
    "result_accept_content": _mapped("accept"),
    "enable_utc": _kept("times in messages always carry their zone"),
    "timezone": _kept("what it means for periodic tasks and for ETAs without a zone is Celery's own code"),
    "imports": _kept("the modules are imported by Celery's own loader"),
    "include": _kept("the modules are imported by Celery's own loader"),
    # ── the broker ───────────────────────────────────────────────────────────────────────────────────────
    "broker_url": _mapped("broker.url"),
    "broker_read_url": _mapped("broker.url, for what workers do"),
    "broker_write_url": _kept("where the application sends its calls"),
    "broker_transport": _mapped("broker.url"),
    "broker_transport_options": _mapped("options of broker.url; visibility_timeout is for others only"),
    "broker_host": _mapped("broker.url"),
    "broker_port": _mapped("broker.url"),
    "broker_user": _mapped("broker.url"),
    "broker_password": _mapped("broker.url"),
    "broker_vhost": _mapped("broker.url"),
    "broker_login_method": _mapped("login_method in broker.url"),
    "broker_use_ssl": _mapped("the scheme and the ssl_ options of broker.url"),
    "broker_heartbeat": _needless("heartbeat in broker.url; one stays alive also while tasks block"),
    "broker_heartbeat_checkrate": _needless("greenq's connections have a keeper of their own"),
    "broker_connection_timeout": _CONNECTION,
    "broker_connection_retry": _CONNECTION,
    "broker_connection_retry_on_startup": _CONNECTION,
    "broker_connection_max_retries": _CONNECTION,
    "broker_channel_error_retry": _CONNECTION,
    "broker_failover_strategy": _needless("the servers of one address are tried one after the other"),
    "broker_native_delayed_delivery_queue_type": _needless("delays are kept in greenq's own queues"),
    "broker_pool_limit": _kept("bounds the connections over which the application sends"),
    "broker_pool_acquire_timeout": _kept("bounds the wait for one of these connections"),
    # ── queues, routes, tasks ────────────────────────────────────────────────────────────────────────────
    "task_queues": _mapped("queues and worker.queues"),
    "task_default_queue": _mapped("tasks.queue"),
    "task_default_queue_type": _mapped("arguments of the queue"),
    "task_default_exchange": _ROUTES,
    "task_default_exchange_type": _ROUTES,
    "task_default_routing_key": _ROUTES,
    "task_default_delivery_mode": _needless("every message is kept on disk where the broker can"),
    "task_queue_max_priority": _mapped("arguments of the queues"),
    "task_create_missing_queues": _ROUTES,
    "task_create_missing_queue_type": _ROUTES,
    "task_create_missing_queue_exchange_type": _ROUTES,
    "task_routes": _ROUTES,
    "task_default_priority": _mapped("tasks.priority"),
    "task_inherit_parent_priority": _mapped("tasks.inherit_priority"),
    "task_annotations": _kept("Celery lays them over its tasks, and greenq reads the tasks"),
    "task_serializer": _mapped("tasks.serializer"),
    "task_compression": _mapped("tasks.compression"),
    "task_protocol": _kept("the application sends what it says; greenq sends protocol 2, and reads 1 and 2"),
    "task_publish_retry": _SENDING,
    "task_publish_retry_policy": _SENDING,
    "task_send_sent_event": _SENDING,
    "task_always_eager": _kept("the application's own calls; a worker runs what arrives"),
    "task_eager_propagates": _SENDING,
    "task_store_eager_result": _SENDING,
    "task_acks_late": _TASK,
    "task_acks_on_failure": _TASK,
    "task_acks_on_timeout": _TASK,
    "task_acks_on_failure_or_timeout": _TASK,
    "task_reject_on_worker_lost": _different(
        "the message of a late acknowledged task always returns when its worker process dies, "
        "worker.max_deliveries times at most; a task whose prefork child dies fails, and does not return"
    ),
    "task_retry_on_worker_lost": _different(
        "such a message returns to its queue at once; it counts as no retry"
    ),
    "task_ignore_result": _TASK,
    "task_store_errors_even_if_ignored": _TASK,
    "task_track_started": _TASK,
    "task_time_limit": _TASK,
    "task_soft_time_limit": _TASK,
    "task_default_rate_limit": _TASK,
    "task_allow_error_cb_on_chord_header": _mapped("tasks.errbacks_on_headers"),
    "task_remote_tracebacks": _different("the traceback of a failure is stored as text, as without tblib"),
    "task_repr_maxlevels": _needless("how much of arguments logs show"),
    # ── results ──────────────────────────────────────────────────────────────────────────────────────────
    "result_backend": _mapped("results.url"),
    "result_backend_transport_options": _mapped("options of results.url"),
    "result_serializer": _mapped("results.serializer"),
    "result_compression": _needless("only replies over rpc are compressed by Celery; others read both"),
    "result_expires": _mapped("results.expires"),
    "result_chord_expires": _different("the counters of chords are kept as long as results"),
    "result_failure_expires": _different("failures are kept as long as other results"),
    "result_extended": _mapped("results.extended"),
    "result_persistent": _needless("replies are kept on disk where the broker can"),
    "result_exchange": _needless("replies go straight to their queue"),
    "result_exchange_type": _needless("replies go straight to their queue"),
    "result_cache_max": _kept("what the application remembers of results that it has seen"),
    "result_chord_retry_interval": _kept("celery.chord_unlock reads it"),
    "result_chord_join_timeout": _kept("celery.chord_unlock reads it"),
    "result_backend_always_retry": _RETRIES,
    "result_backend_max_retries": _RETRIES,
    "result_backend_base_sleep_between_retries_ms": _RETRIES,
    "result_backend_max_sleep_between_retries_ms": _RETRIES,
    "redis_backend_use_ssl": _TLS_PARTS,
    "redis_host": _TLS_PARTS,
    "redis_port": _TLS_PARTS,
    "redis_db": _TLS_PARTS,
    "redis_username": _TLS_PARTS,
    "redis_password": _TLS_PARTS,
    "redis_max_connections": _REDIS,
    "redis_socket_timeout": _REDIS,
    "redis_socket_connect_timeout": _REDIS,
    "redis_socket_keepalive": _REDIS,
    "redis_retry_on_timeout": _REDIS,
    "database_url": _mapped("results.url"),
    "database_engine_options": _different("greenq's own pool of connections is not made by it"),
    "database_engine_callback": _different("greenq's own engine is not given to it"),
    "database_short_lived_sessions": _needless("a session lasts for one batch of results"),
    "database_table_names": _different("greenq uses Celery's usual tables"),
    "database_table_schemas": _different("greenq uses Celery's usual tables"),
    "database_create_tables_at_setup": _needless("tables are made when the first result is stored"),
    "cache_backend": _mapped("results.url"),
    "cache_backend_options": _different("options of the client belong into results.url"),
    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────
    "worker_concurrency": _mapped("worker.concurrency"),
    "worker_pool": _different("choose with --pool or worker.pool: it is needed before the import"),
    "worker_prefetch_multiplier": _needless("a worker fetches what it can start at once (worker.prefetch)"),
    "worker_disable_prefetch": _needless(
        "what takes long never has others wait behind it; worker.prefetch: 0 is the same"
    ),
    "worker_enable_prefetch_count_reduction": _needless("there is no prefetch count to be reduced"),
    "worker_eta_task_limit": _needless("tasks that wait for their time are kept by the broker"),
    "worker_max_tasks_per_child": _mapped("worker.max_tasks, of a process instead of a child"),
    "worker_max_memory_per_child": _mapped("worker.max_memory"),
    "worker_soft_shutdown_timeout": _mapped("worker.shutdown_timeout"),
    "worker_enable_soft_shutdown_on_idle": _needless("an idle worker ends at once"),
    "worker_cancel_long_running_tasks_on_connection_loss": _needless(
        "a worker that reaches its broker again knows what it runs, and runs nothing twice"
    ),
    "worker_deduplicate_successful_tasks": _needless("what a worker has finished it recognises by itself"),
    "worker_detect_quorum_queues": _needless("both kinds of queues are served"),
    "worker_direct": _different("a worker has no queue of its own: name one with worker.queues"),
    "worker_disable_rate_limits": _mapped("tasks are adopted without their rate_limit"),
    "worker_send_task_events": _mapped("events of tasks"),
    "worker_enable_remote_control": _kept("whether Celery's programs can ask and control the worker"),
    "worker_state_db": _different("revoked tasks are shared by the workers over the broker instead"),
    "worker_agent": _LOOP,
    "worker_autoscaler": _LOOP,
    "worker_consumer": _LOOP,
    "worker_timer": _LOOP,
    "worker_timer_precision": _needless("limits are looked at ten times a second"),
    "worker_lost_wait": _CHILDREN,
    "worker_pool_putlocks": _CHILDREN,
    "worker_pool_restarts": _needless("SIGHUP replaces the processes one by one"),
    "worker_pool_start_method": _CHILDREN,
    "worker_proc_alive_timeout": _CHILDREN,
    "worker_hijack_root_logger": _LOGS,
    "worker_log_color": _LOGS,
    "worker_log_datefmt": _LOGS,
    "worker_log_format": _LOGS,
    "worker_task_log_datefmt": _LOGS,
    "worker_task_log_format": _LOGS,
    "worker_redirect_stdouts": _needless("what tasks print is printed as it is"),
    "worker_redirect_stdouts_level": _needless("what tasks print is printed as it is"),
    # ── security ─────────────────────────────────────────────────────────────────────────────────────────
    **dict.fromkeys(
        (
            "security_certificate", "security_cert_store", "security_key", "security_key_password",
            "security_digest",
        ),
        _different("signed messages (the serializer auth) are not read: they are dead-lettered"),
    ),
    # ── events and remote control ────────────────────────────────────────────────────────────────────────
    **dict.fromkeys(
        (
            "event_exchange", "event_queue_durable", "event_queue_exclusive", "event_queue_expires",
            "event_queue_prefix", "event_queue_ttl", "event_serializer",
        ),
        _EVENTS,
    ),
    **dict.fromkeys(
        (
            "control_exchange", "control_queue_durable", "control_queue_exclusive", "control_queue_expires",
            "control_queue_ttl",
        ),
        _CONTROL,
    ),
    # ── beat ─────────────────────────────────────────────────────────────────────────────────────────────
    **dict.fromkeys(
        (
            "beat_cron_starting_deadline", "beat_enable_remote_control", "beat_max_loop_interval",
            "beat_remote_control_max_tick_age", "beat_schedule", "beat_schedule_filename", "beat_scheduler",
            "beat_sync_every",
        ),
        _BEAT,
    ),
    # ── backends that go on as they are ──────────────────────────────────────────────────────────────────
    **dict.fromkeys(
        (
            "arangodb_backend_settings", "azureblockblob_base_path", "azureblockblob_connection_timeout",
            "azureblockblob_container_name", "azureblockblob_read_timeout",
            "azureblockblob_retry_increment_base", "azureblockblob_retry_initial_backoff_sec",
            "azureblockblob_retry_max_attempts", "cassandra_auth_kwargs", "cassandra_auth_provider",
            "cassandra_bundle_path", "cassandra_entry_ttl", "cassandra_keyspace", "cassandra_options",
            "cassandra_port", "cassandra_read_consistency", "cassandra_servers", "cassandra_table",
            "cassandra_write_consistency", "cosmosdbsql_collection_name", "cosmosdbsql_consistency_level",
            "cosmosdbsql_database_name", "cosmosdbsql_max_retry_attempts", "cosmosdbsql_max_retry_wait_time",
            "couchbase_backend_settings", "elasticsearch_max_retries", "elasticsearch_retry_on_timeout",
            "elasticsearch_save_meta_as_text", "elasticsearch_timeout", "gcs_base_path", "gcs_bucket",
            "gcs_project", "gcs_ttl", "mongodb_backend_settings", "s3_access_key_id", "s3_base_path",
            "s3_bucket", "s3_endpoint_url", "s3_region", "s3_secret_access_key",
        ),
        _BACKEND,
    ),
}  # fmt: skip
"""Name of the setting, as it is written today → what becomes of it."""
