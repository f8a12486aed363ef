"""Django app ``events``."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.events"
    label = "events"
