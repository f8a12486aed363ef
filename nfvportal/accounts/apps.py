"""Django app ``accounts``."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Registers the app under its short label."""

    name = "nfvportal.accounts"
    label = "accounts"
