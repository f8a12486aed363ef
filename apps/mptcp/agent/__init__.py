"""Roles that run on devices: sensors, collectors, and the gateway's verdicts."""
