"""Clients of the store under test: what the workloads' `Client` protocol is over gRPC."""
