"""Django app ``wan``."""

from django.apps import AppConfig


class WanConfig(AppConfig):
    """Registers the app under its short label."""

    name = "apps.wan"
    label = "wan"
    verbose_name = "WAN"
