"""Benchmarks: one contract for rows, one command, one table of suites."""
