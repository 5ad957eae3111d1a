"""Many seeds: one simulated run, the loop over seeds, and its summary."""
