#!/bin/sh
# Cut links and skewed clocks survive a restart, and are in force before the node's first instruction,
# as on a machine that reboots while its network is partitioned.
set -eu
# An exit code that the node does not use: a failure here is one of the environment.
trap 'echo "the entry point failed before the node began" >&2; exit 125' EXIT

squall-clock init
squall-links up || echo '{"level":"warn","event":"links-unavailable","msg":"no iptables here: links cannot be cut"}' >&2
: >/dev/shm/squall-started

# The shim affects the node only; other processes of the container see the true time.
exec env LD_PRELOAD=/usr/local/lib/squall/libsquallclock.so SQUALL_CLOCK=/run/squall/clock \
  python3 -m squall.node "$@"
