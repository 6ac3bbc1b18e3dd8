"""Deterministic simulation: the real code in one thread, in a world of time, disk and network drawn from a seed."""
