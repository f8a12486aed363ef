"""Django app ``mptcp``."""

from django.apps import AppConfig


class MptcpConfig(AppConfig):
    """Registers the app under its short label."""

    name = "apps.mptcp"
    label = "mptcp"
