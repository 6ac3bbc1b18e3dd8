"""Verifiers: pure functions that say pass, fail or unknown of a text, and why. They never call a model."""
