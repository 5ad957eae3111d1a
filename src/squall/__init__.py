"""Squall: puts a replicated key-value store through faults and judges whether it kept its promises."""
