"""Exports: projections of episodes onto the rows that trainers load."""
