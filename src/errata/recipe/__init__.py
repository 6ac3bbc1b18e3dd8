"""Recipes: one YAML file, read, checked, filled in and hashed."""
