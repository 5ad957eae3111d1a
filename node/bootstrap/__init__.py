"""How a node starts: as a new or joining member, from an etcd snapshot, or as a single member."""
