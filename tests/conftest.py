"""Fixtures for all tests. The servers start earlier, in ``tests/support/services.py``."""
