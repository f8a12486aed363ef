"""Django app ``audit``."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.audit"
    label = "audit"
