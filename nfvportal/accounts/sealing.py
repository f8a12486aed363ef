"""Secrets that the portal must be able to read again are sealed in the database (Fernet, several keys for rotation)."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def seal(secret: str) -> str:
    """Return the secret encrypted with the newest key."""
    return _keys().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Return the secret.

    Raises:
        ImproperlyConfigured: none of the keys in ``FIELD_KEYS`` opens it.
    """
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise ImproperlyConfigured(
            "no key of FIELD_KEYS opens this secret; was a key removed too early?"
        ) from error


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])
