"""etcd's v3 gRPC services over a node: protobuf in, commands and reads to the node, protobuf out.

Nothing is decided here but the shape of requests and answers; what they do is `squall.node.mvcc`'s
business, and when they may be answered is `squall.node.replica`'s.
"""
