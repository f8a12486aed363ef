"""The event log, which is also the outbox: what happened, and what has still to react to it."""
