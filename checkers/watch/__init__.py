"""Did every watch receive what etcd guarantees: ordered, unique, reliable, atomic, resumable?"""
