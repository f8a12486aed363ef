"""Writes of ``chains``, one file per noun."""
