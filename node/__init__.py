"""The system under test: an etcd-v3-compatible Raft key-value store."""

assert __name__ == "squall.node", "import squall.node: the folder is no package of its own"
