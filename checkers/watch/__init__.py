"""Whether each watch received what etcd guarantees: order, uniqueness, reliability, atomicity."""
