"""Celery as this project runs it: a message is a hint, the store is the truth. Each line has its reason."""

from typing import Any

from config.broker_tls import broker_tls
from config.settings import Settings


def celery_settings(settings: Settings) -> dict[str, Any]:
    """The ``app.conf`` of workers, steward, beat and Flower."""
    url, tls = broker_tls(settings.broker_url.get_secret_value())
    return {
        "broker_url": url,
        "broker_use_ssl": tls or False,
        "broker_transport_options": _transport_options(url),
        "broker_connection_retry_on_startup": True,  # a worker may start before its broker
        "broker_connection_max_retries": None,  # and never gives it up
        # A worker must not stall in a send: the steward sends again what was not sent.
        "task_publish_retry_policy": {
            "max_retries": 2,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
        "task_serializer": "json",
        "accept_content": ["json"],  # pickle from a stray message is refused
        "result_backend": None,  # the store has the results; a backend costs 0.3 ms and a key a task
        "task_ignore_result": True,
        "task_acks_late": True,  # so that prefetch bounds what one worker holds
        "task_reject_on_worker_lost": False,  # would loop for ever on a portfolio that kills its process
        "task_acks_on_failure_or_timeout": True,  # never loop in the broker: attempts are counted in the store
        "worker_prefetch_multiplier": 1,  # least lost on a kill, fair between jobs
        "task_default_queue": settings.task_queue,
        "task_time_limit": settings.task_time_limit_seconds,  # below the lease, above the solver's own limit
        "task_soft_time_limit": None,  # cannot interrupt native code
        # Sleeps its whole time-out in the signal handler, whatever is in hand: see worker/stopping.py.
        "worker_soft_shutdown_timeout": 0.0,
        "worker_max_tasks_per_child": settings.worker_max_tasks_per_child,
        "worker_pool": settings.worker_pool,
        "worker_concurrency": settings.worker_concurrency,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # the fence decides, not the socket
        "worker_send_task_events": settings.task_events,  # a third of the throughput: only where Flower is wanted
        "task_send_sent_event": False,
        "worker_redirect_stdouts": False,  # our own logs
        "worker_hijack_root_logger": False,
        "task_track_started": False,
        "worker_enable_remote_control": True,  # `doctor` and Flower ask who is there
        "timezone": "UTC",
        "enable_utc": True,
    }


def _transport_options(url: str) -> dict[str, Any]:
    if url.startswith("memory"):
        return {"polling_interval": 0.01}
    if url.startswith("amqp"):
        # A broker that is out, or takes no more, must not hold up who sends; what was not sent the steward sends again.
        return {"write_timeout": 10}
    if not url.startswith("redis"):
        return {}
    return {
        # 3.3 times the throughput, and no redelivery storms: leases in the store bring lost work back.
        "ack_emulation": False,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,  # finds a half-open connection in about 20 s
        "client_name": "trimtab",
    }
