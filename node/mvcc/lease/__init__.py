"""Leases: the replicated table, and the leader's timers."""
