"""Text worlds that agents act in: one file a world, one protocol for all."""
