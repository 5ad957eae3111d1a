"""What to do and what to expect: pure descriptions of workloads, one file each.

`WORKLOADS` is the list of them; the command line takes its choices from here.
"""

from __future__ import annotations

from squall.workloads import append, bank, kv, register, sets, watch
from squall.workloads.workload import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        register.WORKLOAD,
        append.WORKLOAD,
        kv.WORKLOAD,
        sets.WORKLOAD,
        bank.WORKLOAD,
        watch.WORKLOAD,
    )
}

__all__ = ["WORKLOADS", "Workload"]

assert __name__ == "squall.workloads", (
    "import squall.workloads: the folder is no package of its own"
)
