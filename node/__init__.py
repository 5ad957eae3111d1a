"""The system under test: an etcd-v3-compatible Raft key-value store."""
