"""errata turns a language model's own mistakes into verified training data."""

__version__ = "0.1.0"
