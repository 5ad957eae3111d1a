"""Effects: sockets, clocks, subprocesses, Docker, the simulator and the command line."""

assert __name__ == "squall.harness", "import squall.harness: the folder is no package of its own"
