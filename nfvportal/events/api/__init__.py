"""REST of the event log."""
