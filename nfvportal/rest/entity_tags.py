"""Entity tags: who edits what somebody else changed meanwhile is told so, and loses nothing.

Source: RFC 9110 sections 8.8.3 and 13.1.1; RFC 6585 section 3.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from rest_framework.request import Request

from nfvportal.rest.problems import PreconditionFailedError, PreconditionRequiredError


def entity_tag(data: Mapping[str, Any]) -> str:
    """Return a strong tag of a representation."""
    text = json.dumps(data, sort_keys=True, cls=DjangoJSONEncoder)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def check_match(request: Request, current_tag: str, current: Mapping[str, Any] | None = None) -> None:
    """Let a change pass only when it was made from the current version.

    Args:
        current: the thing as it is now, for a client that merges its change with it.

    Raises:
        PreconditionRequiredError: there is no ``If-Match``.
        PreconditionFailedError: it names another version; carries the current tag.
    """
    given = request.headers.get("If-Match", "")
    if not given:
        raise PreconditionRequiredError
    tags = {tag.strip() for tag in given.split(",")}
    if "*" not in tags and current_tag not in tags:
        raise PreconditionFailedError(current_tag, current)
