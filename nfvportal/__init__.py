"""nfvportal: the ground that the four apps stand on. Imports nothing, so that engines stay light."""

__version__ = "0.1.0"
