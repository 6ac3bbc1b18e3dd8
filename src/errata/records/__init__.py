"""Records: what flows through a run and what is written to disk."""
