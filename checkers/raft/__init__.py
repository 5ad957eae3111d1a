"""Whether the nodes' logs and write-ahead logs satisfy Raft's invariants.

    safety        all properties of a run, with the evidence they need
    properties    the properties of the Raft paper, one function each
    wal           an independent reader of the node's write-ahead log
    node_log      reader of a node's structured log
    log_witness   which logs hold an acknowledged write
    terms         leaders by term

Nothing here shares code with the node.
"""
