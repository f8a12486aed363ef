"""Writes of ``wan``, one file per noun."""
