"""A stand-in for the node: it answers its status, keeps a peer link busy, and does nothing else."""
