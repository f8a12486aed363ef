"""Several WAN links as one big pipe, with failover that applications do not notice (WAN-aware MPTCP)."""
