"""Errors that carry enough for a person to mend their input."""


class InvalidInputError(ValueError):
    """Input from a person, a file or a device that breaks a stated limit.

    Args:
        field: dotted path of the offending field, e.g. ``links[2].rate_bps``; empty when the whole input is meant.
        limit: what is allowed, in words a person can act on, e.g. ``must be between 1 and 65535``.
    """

    def __init__(self, field: str, limit: str) -> None:
        super().__init__(f"{field}: {limit}" if field else limit)
        self.field = field
        self.limit = limit
