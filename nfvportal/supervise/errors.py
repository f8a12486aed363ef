"""What can go wrong while a portal starts, in words for its operator."""


class SuperviseError(Exception):
    """The portal cannot start or go on; the message says why and what to do."""


class StopRequested(Exception):  # noqa: N818  # not an error: someone asked us to stop
    """Ctrl-C, SIGTERM or a closed terminal arrived while we waited."""
