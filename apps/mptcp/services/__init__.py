"""Writes of ``mptcp``, one file per noun."""
