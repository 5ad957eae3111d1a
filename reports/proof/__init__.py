"""Counterexamples as cards and drawings."""
