"""bbolt's file format, read and written: what etcd keeps its data in. Pure: bytes in, bytes out.

A file is a row of pages of equal size. Pages 0 and 1 are two copies of the meta page, of which the
sound one with the greater transaction id counts; it names the page where the root bucket's B+tree
begins. A bucket is a value in its parent's tree: sixteen bytes with its own root page, or, when
that is 0, its only page itself.

Known here are whole files: `writing` makes one from sorted items in a single pass from front to
back, so it can be streamed; `reading` walks one that somebody else made and trusts nothing in it.
Nothing is changed in place, and what the items mean is not known here.

The format is that of go.etcd.io/bbolt 1.3 (`page.go`, `bucket.go`, `db.go`), version 2.
"""
