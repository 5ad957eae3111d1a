"""The container backend: nodes as Docker containers on a private network, and faults on them."""
