"""The home page: health of each part and the event log."""
