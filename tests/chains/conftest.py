"""Fixtures of the tests of ``chains``."""

from tests.support.chains import catalogue as catalogue
