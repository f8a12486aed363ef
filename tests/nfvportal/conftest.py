"""Fixtures of the portal's own tests."""

from tests.support.demo import pair as pair
