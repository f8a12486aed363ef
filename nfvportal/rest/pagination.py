"""Keyset pages: stable while rows are added, and as fast on page 10 000 as on the first."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from nfvportal.lib.errors import InvalidInputError

MAX_PAGE_SIZE = 500


class KeysetPagination(BasePagination):
    """``?page_size=50&cursor=...``; the answer is ``{"next": url or null, "results": [...]}``.

    A view names its order in ``keyset``, e.g. ``("-at", "-id")``; all of one direction, the last field unique.
    """

    default_size = 50

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return one page of rows.

        Raises:
            InvalidInputError: ``cursor`` or ``page_size`` is not what we gave out or allow.
        """
        assert isinstance(queryset, QuerySet), "a list has no keys to go on from"
        keyset: tuple[str, ...] = getattr(view, "keyset", ("id",))
        self._request = request
        self._fields = [name.lstrip("-") for name in keyset]
        size = self._size(request)
        queryset = queryset.order_by(*keyset)
        if cursor := request.query_params.get("cursor"):
            queryset = queryset.filter(self._after(queryset, cursor, is_descending=keyset[0].startswith("-")))
        rows = list(queryset[: size + 1])
        self._next = self._cursor_of(rows[size - 1]) if len(rows) > size else None
        return rows[:size]

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page with the address of the next one."""
        url = None
        if self._next is not None:
            query = self._request.query_params.copy()
            query["cursor"] = self._next
            url = self._request.build_absolute_uri(f"{self._request.path}?{query.urlencode()}")
        headers = {"Link": f'<{url}>; rel="next"'} if url else {}
        return Response({"next": url, "results": data}, headers=headers)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the OpenAPI schema of a page."""
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {
                "next": {"type": "string", "format": "uri", "nullable": True},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Return the OpenAPI description of the two parameters."""
        return [
            {
                "name": "page_size",
                "in": "query",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_PAGE_SIZE,
                    "default": self.default_size,
                },
            },
            {
                "name": "cursor",
                "in": "query",
                "schema": {"type": "string"},
                "description": "from next; opaque",
            },
        ]

    def _size(self, request: Request) -> int:
        text = request.query_params.get("page_size", str(self.default_size))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_PAGE_SIZE:
            raise InvalidInputError("page_size", f"must be a whole number from 1 to {MAX_PAGE_SIZE}")
        return int(text)

    def _after(self, queryset: QuerySet[Any], cursor: str, *, is_descending: bool) -> Q:
        """Return the rows behind the cursor: (a, b) beyond (x, y) is a beyond x, or a equal x and b beyond y."""
        values = self._decode(queryset, cursor)
        operator = "lt" if is_descending else "gt"
        condition = Q()
        for index, name in enumerate(self._fields):
            equal = {field: values[at] for at, field in enumerate(self._fields[:index])}
            condition |= Q(**equal, **{f"{name}__{operator}": values[index]})
        return condition

    def _cursor_of(self, row: Model) -> str:
        values = [getattr(row, name) for name in self._fields]
        plain = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
        return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode()

    def _decode(self, queryset: QuerySet[Any], cursor: str) -> list[Any]:
        try:
            texts = json.loads(base64.urlsafe_b64decode(cursor.encode()))
            if len(texts) != len(self._fields) or not all(isinstance(text, str) for text in texts):
                raise ValueError("another view's cursor")
            fields = [queryset.model._meta.get_field(name) for name in self._fields]
            return [field.to_python(text) for field, text in zip(fields, texts, strict=True)]
        except (ValueError, TypeError, binascii.Error, RecursionError) as error:
            raise InvalidInputError("cursor", "must be the cursor of an answer's next") from error
        except Exception as error:  # a field's own ValidationError
            raise InvalidInputError("cursor", "must be the cursor of an answer's next") from error
