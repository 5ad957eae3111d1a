"""bbolt's file format, which etcd stores its data in: read and written as bytes, without I/O.

A file is a sequence of pages of equal size. Pages 0 and 1 are two copies of the meta page; the
valid one with the greater transaction id counts, and names the root page of the root bucket's
B+tree. A bucket is a value in its parent's tree: sixteen bytes with its own root page, or, when
that is 0, its only page itself.

Only whole files are handled: `writing` makes one from sorted items in a single pass from front to
back, so it can be streamed; `reading` walks one that it does not trust. No file is changed in
place, and the items have no meaning here.

The format is that of go.etcd.io/bbolt 1.3 (`page.go`, `bucket.go`, `db.go`), version 2.
"""
