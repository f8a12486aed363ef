"""The Celery application: three queues, late acknowledgement, no eager mode anywhere."""

import os

from celery import Celery
from kombu.entity import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nfvportal.settings")

from django.conf import settings

from nfvportal.schedule import SCHEDULE, beat_entries

QUEUES = ("control", "engine", "telemetry")

app = Celery("nfvportal")
app.conf.update(
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
app.autodiscover_tasks()
