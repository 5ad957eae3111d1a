"""Which isolation level the transactions of a history have: Elle's and Adya's question.

`operations` numbers the transactions, `list_append` and `rw_register` infer dependencies from
values, `dependencies` finds cycles, `isolation` orders the levels, `proofs` words the anomalies.
"""
