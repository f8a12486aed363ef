"""Roles that run on gateways and hosts."""
