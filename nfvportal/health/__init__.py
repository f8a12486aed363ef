"""Is the portal well: for machines (livez, readyz, metrics) and for people (the overview's parts)."""
