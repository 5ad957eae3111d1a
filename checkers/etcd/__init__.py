"""Whether etcd's answers and revisions follow from one sequence of requests.

`model` is the sequential specification, `order` and `replay` execute requests by revision, the
`gap` modules place requests whose revision was never seen.
"""
