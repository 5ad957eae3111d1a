"""Clients of the store under test: the workloads' `Kv` protocol over gRPC."""
