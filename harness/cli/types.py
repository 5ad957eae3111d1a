"""Types of option values, with error messages that say what to write instead."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from squall.harness.cli.durations import parse_duration_ns
from squall.harness.vocabulary import CHECK_TIME_S, KINDS, NO_INSTALL
from squall.workloads import WORKLOADS

if TYPE_CHECKING:
    Parameter = click.ParamType[Any]  # type: ignore[type-arg, unused-ignore]
else:
    Parameter = click.ParamType  # generic in newer versions of click only

NODE_COUNTS = ("3", "5", "7")


class Duration(Parameter):
    """A duration with its unit, as nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Parse; a usage error says what to write instead."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration_ns(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


_SIZE_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Size(Parameter):
    """An amount of memory with its unit, as bytes: `512MiB`, `4GiB`."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Parse; a usage error says what to write instead."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB)", str(value).strip())
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no size; say the unit, as in 512MiB or 4GiB", param, ctx)
        return int(float(found[1]) * _SIZE_UNITS[found[2]])


class OneOf(Parameter):
    """One of some names, with a suggestion when it is none of them."""

    def __init__(self, what: str, names: tuple[str, ...]) -> None:
        self.name = what
        self._names = names

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Accept a known name; a usage error suggests the closest one."""
        if value in self._names:
            return str(value)
        close = difflib.get_close_matches(str(value), self._names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(self._names)}"
        raise click.BadParameter(f"no {self.name} is called {value!r}; {hint}", ctx, param)


class Faults(Parameter):
    """Kinds of fault, separated by commas, or `all` or `none`."""

    name = "faults"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the kinds in the order of KINDS."""
        if isinstance(value, tuple):
            return value
        if value in ("all", "none"):
            return KINDS if value == "all" else ()
        kind = OneOf("fault", (*KINDS, "all", "none"))
        asked = {kind.convert(word.strip(), param, ctx) for word in value.split(",")}
        if asked & {"all", "none"}:
            self.fail("`all` and `none` stand alone", param, ctx)
        return tuple(kind for kind in KINDS if kind in asked)


class Concurrency(Parameter):
    """A number of clients, or a multiple of the number of nodes (`4n`)."""

    name = "clients"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Check the syntax; the number of nodes is not known here."""
        if not re.fullmatch(r"[1-9]\d*n?", str(value)):
            self.fail(f"{value!r} is no number of clients; write 20, or 4n", param, ctx)
        return str(value)


def clients(concurrency: str, nodes: int) -> int:
    """Return how many clients `20` or `4n` stands for."""
    return int(concurrency[:-1]) * nodes if concurrency.endswith("n") else int(concurrency)


class Seeds(Parameter):
    """A range of seeds, both ends included: `1..300`; or a single one."""

    name = "A..B"

    def convert(self, value: Any, param: Any, ctx: Any) -> range:
        """Parse; a usage error says what to write instead."""
        if isinstance(value, range):
            return value
        found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", str(value))
        if found is None:
            self.fail(f"{value!r} is no range of seeds; write 1..300", param, ctx)
        first = int(found[1])
        last = int(found[2]) if found[2] is not None else first
        if last < first:
            self.fail(f"{value!r} ends before it begins; write {last}..{first}", param, ctx)
        return range(first, last + 1)


class NodeName(Parameter):
    """A node by its name, as its number from 0."""

    name = "node"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Accept `n2` and `2`; the number of nodes is not known here."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"n?([1-9])", str(value))
        if found is None:
            self.fail(f"{value!r} is no node; nodes are called n1, n2, ...", param, ctx)
        return int(found[1]) - 1


_SIMULATED = (
    click.option(
        "--workload",
        type=OneOf("workload", tuple(WORKLOADS)),
        default="register",
        show_default=True,
    ),
    click.option(
        "--time",
        "time_ns",
        type=Duration(),
        default="20s",
        show_default=True,
        help="How long each run loads the cluster, in simulated time.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        default=200.0,
        show_default=True,
        help="Operations a simulated second, all clients together.",
    ),
    click.option("--concurrency", type=Concurrency(), default="4n", show_default=True),
    click.option("--nodes", type=click.Choice(NODE_COUNTS), default="5", show_default=True),
    click.option(
        "--faults",
        type=Faults(),
        help="Kinds of timed fault. Each seed draws its own if not given.",
    ),
    click.option(
        "--node-source",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Test this copy of the node package instead of our own.",
    ),
)


def simulated(command: Any) -> Any:
    """Decorate a command with the options of every simulated run."""
    for option in reversed(_SIMULATED):
        command = option(command)
    return command


judging_time = click.option(
    "--check-time",
    "--time-limit",
    "check_time_ns",
    type=Duration(),
    default=f"{CHECK_TIME_S:g}s",
    show_default=True,
    help="How long the checkers may search; what is then undecided is unknown.",
)
"""The option of every command that judges."""


def _forbid_installing(_context: click.Context, _option: click.Parameter, forbidden: bool) -> None:
    if forbidden:
        os.environ[NO_INSTALL] = "1"  # read by squall.harness.docker.image.base


no_install = click.option(
    "--no-install",
    is_flag=True,
    expose_value=False,
    callback=_forbid_installing,
    help="Never install a program on this machine (debootstrap, where no registry answers).",
)
"""The option of every command that may have to build the node's image."""
