"""Bodies of requests: JSON. Django limits their size before this reads them, see ``DATA_UPLOAD_MAX_MEMORY_SIZE``."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class BoundedJSONParser(JSONParser):
    """REST framework's, but nesting beyond what Python can follow is the sender's mistake, not ours."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the body's value.

        Raises:
            ParseError: it is not JSON in UTF-8, or nested too deep.
        """
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("the body is nested too deep") from error
