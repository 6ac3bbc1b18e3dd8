"""A small trainer on TRL, for `errata iterate` and by itself: `python -m errata.train`, with the extra `train`."""
