"""Corpus operations: the only code that sees the whole set."""
