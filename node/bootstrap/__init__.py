"""How a node comes to be: new, joining, restored from a snapshot or forced alone."""
