"""etcd's v3 gRPC services over a `Backend`: protobuf to commands and reads, results to protobuf.

Only the form of requests and responses is decided here. `squall.node.mvcc` defines their effect,
`squall.node.replica` when they may be answered.
"""
