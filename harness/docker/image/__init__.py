"""The node's image: its base, its wheels, its recipes, and when each is built again."""
