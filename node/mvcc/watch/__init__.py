"""Watches: each watcher's position in the history, each client's stream of responses."""
