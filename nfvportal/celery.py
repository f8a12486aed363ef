"""The Celery application: three queues, late acknowledgement, no eager mode anywhere."""

import os
from typing import Any

from celery import Celery
from celery.contrib.django.task import DjangoTask
from kombu.entity import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nfvportal.settings")

from django.conf import settings
from django.db import close_old_connections

from nfvportal.schedule import SCHEDULE, beat_entries

QUEUES = ("control", "engine", "telemetry")

# Left alone, Celery closes the connection to the database before and after every task: under the telemetry of the demo
# twenty new ones a second. This many tasks may share one; Django says when it is too old or broken.
TASKS_PER_CONNECTION = 1_000_000


class PortalTask(DjangoTask):  # type: ignore[misc]  # Celery has no types
    """A task that keeps its process's connection to the database for the next, as a request of the web process does."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run; in a worker, with a connection that is known to be good, or with none yet."""
        if self.request.called_directly or self.request.is_eager:  # perhaps in somebody's transaction
            return self.run(*args, **kwargs)
        close_old_connections()
        try:
            return self.run(*args, **kwargs)
        finally:
            close_old_connections()


def celery_make(**options: Any) -> Celery:
    """Return an application with our broker, queues and schedule, and no tasks yet."""
    made = Celery("nfvportal", task_cls=PortalTask, **options)
    made.conf.update(
        CELERY_DB_REUSE_MAX=TASKS_PER_CONNECTION,
        broker_url=settings.CELERY_BROKER_URL,
        broker_connection_retry_on_startup=True,
        # A killed worker's task is back within seconds instead of minutes.
        broker_transport_options={
            "visibility_timeout": 5,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "queue_order_strategy": "priority",
        },
        task_queues=[Queue(name) for name in QUEUES],
        task_default_queue="control",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        timezone="UTC",
        beat_schedule=beat_entries(SCHEDULE),
        # The schedule is code: nothing to remember between starts, no file to leave behind.
        beat_scheduler="celery.beat:Scheduler",
        beat_max_loop_interval=1,
    )
    return made


app = celery_make()
app.autodiscover_tasks()
