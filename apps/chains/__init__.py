"""Service function chains made hybrid: parallel only where the result is provably the same and it pays off (HybridSFC)."""
