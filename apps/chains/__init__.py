"""Service function chains made hybrid: parallel only where it is provably the same and pays off (HybridSFC)."""
