"""Django app ``testbed``."""

from django.apps import AppConfig


class TestbedConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.testbed"
    label = "testbed"
