"""Names, exit codes, defaults and units that the command line needs before it imports anything.

Imports nothing itself, so that a usage error and a help text cost no more than the parser.
"""

from __future__ import annotations

from typing import Final

PROGRAM: Final = "squall"

EXIT_VALID, EXIT_INVALID, EXIT_UNKNOWN = 0, 1, 2
EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 3, 4, 130
EXIT_OUTPUT_CLOSED: Final = 141
"""128 + SIGPIPE, as a shell reports a program that wrote to a closed pipe."""

CHECK_TIME_S: Final = 120.0
CHECK_MEMORY_BYTES: Final = 4 << 30

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

KINDS: Final = ("kill", "pause", "partition", "clock")
"""Every kind of fault, in the order in which they are listed."""

BACKENDS: Final = {"docker": "squall.harness.docker.backend", "sim": "squall.harness.sim.backend"}
"""The backends by name: the module whose `execute` runs a test on it."""
AUTO: Final = "auto"
"""Containers if a Docker engine answers, else the simulator."""

NO_INSTALL: Final = "SQUALL_NO_INSTALL"
"""Environment variable: set to anything but 0, nothing is installed on this machine."""
