"""Fixtures of the tests of ``wan``."""

from tests.support.demo import pair as pair
