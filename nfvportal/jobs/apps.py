"""Django app ``jobs``."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.jobs"
    label = "jobs"
