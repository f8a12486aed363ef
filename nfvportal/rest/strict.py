"""Input that we do not know is refused, not ignored."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from django.db import models
from rest_framework import serializers
from rest_framework.request import Request

from nfvportal.lib.errors import InvalidInputError

PAGE_PARAMETERS = frozenset({"page_size", "cursor"})


class FiniteFloatField(serializers.FloatField):
    """A number that JSON can say; REST framework's takes the texts ``nan`` and ``inf``, and 1e999 for infinity."""

    def to_internal_value(self, data: Any) -> float:
        """Return the number; refuse what is none."""
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class StrictSerializerMixin:
    """Refuses unknown fields, and read-only ones, by name."""

    def to_internal_value(self, data: Any) -> Any:
        """Check the names, then let the serializer check the values."""
        fields: dict[str, serializers.Field[Any, Any, Any, Any]] = self.fields  # type: ignore[attr-defined]
        if isinstance(data, dict) or hasattr(data, "keys"):
            known = {name for name, field in fields.items() if not field.read_only}
            unknown = sorted(set(data.keys()) - known)
            if unknown:
                message = f"is not a field that can be set; these can: {', '.join(sorted(known))}"
                raise serializers.ValidationError({str(name)[:64]: [message] for name in unknown})
        return super().to_internal_value(data)  # type: ignore[misc]


class StrictSerializer(StrictSerializerMixin, serializers.Serializer[Any]):
    """A plain serializer that refuses unknown fields."""


class StrictModelSerializer(StrictSerializerMixin, serializers.ModelSerializer[Any]):
    """A model serializer that refuses unknown fields."""

    serializer_field_mapping: ClassVar[Any] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.FloatField: FiniteFloatField,
    }


def check_filters(request: Request, known: Iterable[str], *, paged: bool = True) -> None:
    """Refuse query parameters that the view does not know.

    Raises:
        InvalidInputError: naming the first unknown parameter.
    """
    allowed = set(known) | (PAGE_PARAMETERS if paged else set())
    for name in request.query_params:
        if name not in allowed:
            choices = ", ".join(sorted(allowed)) or "none"
            raise InvalidInputError(name[:64], f"is not a known filter; known are {choices}")


def choice_filter(request: Request, name: str, choices: Iterable[str]) -> str:
    """Return a filter's value, empty when it is not given.

    Raises:
        InvalidInputError: it is not one of ``choices``.
    """
    value = request.query_params.get(name, "")
    allowed = list(choices)
    if value and value not in allowed:
        raise InvalidInputError(name, f"must be one of {', '.join(allowed)}")
    return value


def text_filter(request: Request, name: str, limit: int = 200) -> str:
    """Return a text filter's value, empty when it is not given.

    Raises:
        InvalidInputError: it is too long or holds NUL.
    """
    value = request.query_params.get(name, "")
    if len(value) > limit or "\x00" in value:
        raise InvalidInputError(name, f"must have at most {limit} characters and no NUL")
    return value


def number_filter(request: Request, name: str) -> float | None:
    """Return a number filter's value, ``None`` when it is not given.

    Raises:
        InvalidInputError: it is not a finite number.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidInputError(name, "must be a number") from error
    if not -1e15 < value < 1e15:
        raise InvalidInputError(name, "must be a finite number below 10^15")
    return value
