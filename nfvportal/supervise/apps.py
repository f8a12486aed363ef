"""Django's entry for the commands of this package."""

from django.apps import AppConfig


class SuperviseConfig(AppConfig):
    """Holds ``manage.py up``; no tables."""

    name = "nfvportal.supervise"
    label = "supervise"
