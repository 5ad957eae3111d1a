"""What is observed of a simulated run: invariants at every event, trace, evidence."""
