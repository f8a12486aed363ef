"""Django app ``chains``."""

from django.apps import AppConfig


class ChainsConfig(AppConfig):
    """Registers the app under its short label."""

    name = "apps.chains"
    label = "chains"
