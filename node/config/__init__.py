"""The node's settings: etcd's flags, environment variables and configuration file."""
