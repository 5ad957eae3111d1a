"""Watches over the revisions of a store: each watcher's position, each client's stream."""
