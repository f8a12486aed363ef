"""The engine of ``chains``: what may run in parallel, what pays off, and how packets come together again. Pure."""
