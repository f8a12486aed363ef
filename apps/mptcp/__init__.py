"""Online association of Multipath TCP subflows from full, sampled or partial records (SAMPO)."""
