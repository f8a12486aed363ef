"""Django app ``bench``: only the command."""

from django.apps import AppConfig


class BenchConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.bench"
    label = "bench"
