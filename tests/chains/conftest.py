"""Fixtures of the tests of ``chains``. They import what they need themselves: engine tests need none of it."""

from typing import Any

import pytest


@pytest.fixture
def catalogue(db: None) -> None:
    """The types that come with the portal."""
    from apps.chains.seeds import catalogue_seed

    catalogue_seed()


@pytest.fixture
def fabric(catalogue: None) -> dict[str, Any]:
    """A classifier and three servers with addresses on the fabric, by name."""
    from tests.support.chains import fabric_make

    return fabric_make()
