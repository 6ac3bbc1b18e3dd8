"""Sources: where problems come from, alone or with attempts made elsewhere.

A source is a lazy, deterministic iterator: the same configuration gives the same items in the same order on every
machine, and memory does not grow with the rows, but for one digest a problem. What cannot be used becomes a drop with
its place and reason.
"""
