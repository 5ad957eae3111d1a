"""What Raft peers say to each other, and what they write down.

Messages are plain structs: encoded as msgpack arrays on the wire, passed by reference in the
simulator, never changed after they were built. Entries are shared by reference between a node's
log, its messages and (in the simulator) other nodes, so they too are never changed.
"""
