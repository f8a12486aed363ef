"""Django app ``overview``."""

from django.apps import AppConfig


class OverviewConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.overview"
    label = "overview"
