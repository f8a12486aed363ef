"""The examples in the engine's docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

from apps.mptcp import engine

MODULES = [module.name for module in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    """Else the test above could not fail."""
    tried = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(tried) >= 3
