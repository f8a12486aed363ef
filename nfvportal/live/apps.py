"""Django app ``live``."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.live"
    label = "live"
