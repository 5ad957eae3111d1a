"""The consensus core, sans-IO. Begin with `raft` (what goes in and out), then `replication`."""
