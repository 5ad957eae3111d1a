"""Raft's own invariants, checked from the nodes' logs and write-ahead logs.

An independent reader: nothing here shares code with the node.
"""
