"""Sets, counters, locks and leases: properties decided by one pass over the operations."""
