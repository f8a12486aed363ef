"""Roles of ``chains`` that run on devices. No Django."""
