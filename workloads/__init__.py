"""What to do and what to expect: pure descriptions of workloads, one file each."""
