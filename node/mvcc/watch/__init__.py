"""Watches over the revisions of a store: positions of watchers, and a client's stream of answers."""
