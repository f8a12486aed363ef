"""Django's name for the lab: it only brings the ``lab`` command."""

from django.apps import AppConfig


class LabConfig(AppConfig):
    """No models; the lab is a process of its own."""

    name = "nfvportal.lab"
    label = "lab"
    verbose_name = "Lab"
