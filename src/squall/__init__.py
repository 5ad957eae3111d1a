"""Squall: faults for a replicated key-value store, and a judge of whether it kept its promises."""
