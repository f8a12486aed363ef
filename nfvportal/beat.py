"""The application of Celery beat: it sends names of tasks by the schedule and loads neither them nor Django."""

from nfvportal.celery import celery_make

app = celery_make(fixups=())
