"""What to do and what to expect: pure descriptions of workloads, one file each.

`WORKLOADS` is the list of them; the command line takes its choices from here. A workload is loaded
when it is looked up, with the checkers that judge it; its name costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from squall.workloads.workload import Workload

MODULES: Final = {
    "register": "squall.workloads.register",
    "append": "squall.workloads.append",
    "kv": "squall.workloads.kv",
    "set": "squall.workloads.sets",
    "bank": "squall.workloads.bank",
    "watch": "squall.workloads.watch",
}
"""Where each workload is described: its module's `WORKLOAD`."""


class _Workloads(Mapping[str, "Workload"]):
    """The workloads by name, in the order in which they are listed to people."""

    def __getitem__(self, name: str) -> Workload:
        workload: Workload = importlib.import_module(MODULES[name]).WORKLOAD
        return workload

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)

    def __contains__(self, name: object) -> bool:
        return name in MODULES


MODELS: Final = {"register": "cas-register", "kv": "etcd", "election": "lock"}
"""Models that judge the histories of a workload of another name."""


def model_of(workload: str) -> str:
    """Return the name of the model by which the histories of a workload are judged."""
    return MODELS.get(workload, workload)


WORKLOADS: Final[Mapping[str, Workload]] = _Workloads()

assert __name__ == "squall.workloads", (
    "import squall.workloads: the folder is no package of its own"
)
