"""The container backend: five nodes on a network of their own, and what faults do to them."""
