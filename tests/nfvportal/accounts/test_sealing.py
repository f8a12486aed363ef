"""Sealed secrets: unreadable without a key, readable with an older one, a clear word when none fits."""

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from nfvportal.accounts.sealing import seal, unseal


def test_sealed_secret_is_unreadable_and_opens_again() -> None:
    sealed = seal("wan key")
    assert "wan key" not in sealed
    assert seal("wan key") != sealed, "the same secret twice does not show"
    assert unseal(sealed) == "wan key"


def test_keys_rotate(settings: object) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_KEYS = [old]  # type: ignore[attr-defined]
    sealed = seal("secret")
    settings.FIELD_KEYS = [new, old]  # type: ignore[attr-defined]
    assert unseal(sealed) == "secret"
    fresh = seal("secret")
    settings.FIELD_KEYS = [new]  # type: ignore[attr-defined]
    assert unseal(fresh) == "secret"
    with pytest.raises(ImproperlyConfigured, match="FIELD_KEYS"):
        unseal(sealed)
