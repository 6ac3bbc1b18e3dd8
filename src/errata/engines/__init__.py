"""Engines: anything that answers a request, behind one protocol."""
