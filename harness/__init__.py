"""Effects: sockets, clocks, subprocesses, Docker, the simulator and the command line."""
