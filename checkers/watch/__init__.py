"""Whether each watch received what etcd guarantees.

    rules       the guarantees of one stream: ordered, unique, reliable, atomic, ...
    end_state   watches of the final phase: equal on every node, and they lead to its state
    witness     answers of unanswered requests, inferred from what watches were sent
    coverage    whether the watches were exercised at all

The guarantees are those of etcd's documentation ("KV API guarantees", "Watch APIs").
"""
