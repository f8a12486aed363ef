"""What names, addresses and roles may look like. Each error says what is allowed."""

import ipaddress
import re

from django.core.exceptions import ValidationError

from nfvportal.agent.roles import ROLES

MAX_ADDRESSES = 64
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def validate_name(value: str) -> None:
    """Accept 1 to 64 of a-z 0-9 . _ - that start and end with a letter or digit."""
    if not _NAME.fullmatch(value):
        raise ValidationError("must be 1 to 64 of a-z 0-9 . _ -, starting and ending with a letter or digit")


def validate_mac(value: str) -> None:
    """Accept a lowercase MAC address with colons."""
    if not _MAC.fullmatch(value):
        raise ValidationError("must look like 02:00:5e:10:00:01")


def validate_addresses(value: object) -> None:
    """Accept a list of addresses with prefix length."""
    if not isinstance(value, list) or len(value) > MAX_ADDRESSES:
        raise ValidationError(f"must be a list of at most {MAX_ADDRESSES} addresses")
    for address in value:
        try:
            if not isinstance(address, str) or "/" not in address:
                raise ValueError
            ipaddress.ip_interface(address)
        except ValueError as error:
            raise ValidationError(f"{address!r} must look like 192.0.2.1/30 or 2001:db8::1/64") from error


def validate_roles(value: object) -> None:
    """Accept a list of different known role names."""
    if not isinstance(value, list) or not all(isinstance(role, str) and role in ROLES for role in value):
        raise ValidationError(f"must be a list of these: {', '.join(ROLES)}")
    if len(set(value)) != len(value):
        raise ValidationError("must not name a role twice")
