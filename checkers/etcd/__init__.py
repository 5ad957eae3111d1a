"""Whether etcd's answers and revisions follow from one sequence of requests.

    model          the sequential specification: what each request answers and changes
    requests       which keys a request may change, and what its answer says it did
    revisions      the contract of revisions: distinct, in real-time order, with their values
    order          strict serializability, by replay in the order of revisions
    replay         the replay itself, and where answers differ from it
    gaps           which unanswered requests made the revisions that were not acknowledged
    gap_windows    between which revisions a key can have changed unseen
    gap_matching   requests of one key matched with gaps: augmenting paths
    gap_search     requests of several keys: bounded search

No module here imports the node under test.
"""
