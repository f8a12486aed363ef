"""Django app ``health``."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.health"
    label = "health"
