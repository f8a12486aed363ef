"""Django app ``cluster``."""

from django.apps import AppConfig


class ClusterConfig(AppConfig):
    """Registers the app under its short label."""

    name = "apps.cluster"
    label = "cluster"
