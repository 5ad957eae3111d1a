"""The replicated state machine: a multi-version key-value store with etcd's semantics.

Everything in this package is a deterministic function of the commands applied: no clock, no chance,
no I/O, no protobuf. Equal logs give equal stores on every node, to the last byte of a snapshot.
"""
