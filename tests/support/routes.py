"""Every HTTP route of the portal, read from the URL resolver."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from rest_framework.views import APIView

VERBS = ("get", "post", "put", "patch", "delete")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^()]*\)")


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Args:
        path: with parameters in braces, e.g. ``/api/v1/jobs/{pk}/``.
        methods: of a REST view, upper case; empty for pages, which do not say.
    """

    path: str
    methods: tuple[str, ...]


def routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[Route]:
    """Yield every route, those of included files too."""
    for item in (resolver or get_resolver()).url_patterns:
        path = prefix + str(item.pattern).lstrip("^").rstrip("$")
        if isinstance(item, URLResolver):
            yield from routes(item, path)
        else:
            yield Route(_PARAMETER.sub(lambda match: f"{{{match[1] or match[2]}}}", path), _methods(item))


def _methods(item: URLPattern) -> tuple[str, ...]:
    view = item.callback
    actions = getattr(view, "actions", None)
    if actions is not None:
        return tuple(verb.upper() for verb in VERBS if verb in actions)  # a served view has grown a HEAD
    view_class = getattr(view, "cls", None)
    if view_class is None or not issubclass(view_class, APIView):
        return ()
    return tuple(verb.upper() for verb in VERBS if hasattr(view_class, verb))
