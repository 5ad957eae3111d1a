"""What the command line can say before anything is loaded: names, exit codes, defaults, units.

Imports nothing, so that a usage error and a help text cost no more than the parser.
"""

from __future__ import annotations

from typing import Final

PROGRAM: Final = "squall"

EXIT_VALID, EXIT_INVALID, EXIT_UNKNOWN = 0, 1, 2
EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 3, 4, 130
EXIT_OUTPUT_CLOSED: Final = 141
"""128 + SIGPIPE, as a shell reports a program that wrote to a reader which had ended."""

CHECK_TIME_S: Final = 120.0
CHECK_MEMORY_BYTES: Final = 4 << 30

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

KINDS: Final = ("kill", "pause", "partition", "clock")
"""Every kind of fault there is, in the order in which they are listed to people."""

BACKENDS: Final = {"docker": "squall.harness.docker.backend", "sim": "squall.harness.sim.backend"}
"""The backends by name: the module whose `execute` runs a test on it."""
AUTO: Final = "auto"
"""Containers where an engine answers, the simulator where none does."""
