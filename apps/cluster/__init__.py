"""Controller clusters under partial connectivity: liveness failures named and routed around (Raft meets SDN)."""
