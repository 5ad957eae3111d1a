#!/bin/sh
# What is in force must be in force before the node runs its first instruction: the cut links and
# the turned clocks outlive a restart, as they do on a machine that reboots into the same bad network.
set -eu
# No exit code of the node's: what fails here is the surroundings', and the controller must know it.
trap 'echo "the entry point failed before the node began" >&2; exit 125' EXIT

squall-clock init
squall-links up || echo '{"level":"warn","event":"links-unavailable","msg":"no iptables here: links cannot be cut"}' >&2
: >/dev/shm/squall-started

# The shim reaches the node alone; whatever is executed beside it keeps the true time.
exec env LD_PRELOAD=/usr/local/lib/squall/libsquallclock.so SQUALL_CLOCK=/run/squall/clock \
  python3 -m node "$@"
