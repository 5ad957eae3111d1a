"""The command line: parses options, calls the rest of the harness, prints results."""
