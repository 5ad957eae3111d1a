"""The durable side: disk operations, the write-ahead log, snapshots, and recovery from them."""
