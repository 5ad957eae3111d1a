"""`squall doctor`: what this machine supports, and how to install what is missing.

Probes try the real operation where possible: a container with the node's image cuts a link of its
own, skews a process's clock, delays its loopback. A finding is `needed` if no run works without it;
the others cost a kind of fault or a test, and say which. A probe that fails unexpectedly is a
finding, not a traceback.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import docker.errors
import msgspec

from squall.harness.cluster import HarnessError
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.image import base

DISK_FREE_BYTES_MIN = 3 << 30
"""The images take 0.6 GB; the rest holds the evidence of seven nodes over an hour."""

CORES_MIN = 2
PROBE_IMAGES = ("squall-node:latest", "squall-deps:latest")

_SKEW_PROBE = (
    "squall-clock init && squall-clock jump 3600000000000 && "
    "export now='import time; print(time.time_ns())' SQUALL_CLOCK=/run/squall/clock && "
    'LD_PRELOAD=/usr/local/lib/squall/libsquallclock.so python3 -c "$now" && python3 -c "$now"'
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one probe. `ok` None: not known yet; `remedy` says what to do."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""
    needed: bool = False


class Diagnosis(msgspec.Struct, frozen=True):
    """All findings, the most important first."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether everything that a run needs is present."""
        return not any(found.needed and found.ok is False for found in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def text(self) -> str:
        """Return the findings as text: one line each, remedies indented beneath."""
        width = max(len(found.name) for found in self.findings)
        lines = []
        for found in self.findings:
            sign = {True: "ok", None: "??"}.get(found.ok, "NO" if found.needed else "--")
            lines.append(f"{sign:<3} {found.name:<{width}}  {found.detail}")
            if found.remedy and found.ok is not True:
                lines.append(f"{'':<{width + 6}}-> {found.remedy}")
        return "\n".join(lines)


def diagnose() -> Diagnosis:
    """Run every probe; takes some seconds."""
    findings = [_guard("python", _python), _guard("cores", _cores), _guard("disk", _disk)]
    try:
        engine = Docker()
    except HarnessError as error:
        findings.append(
            Finding(
                name="docker engine",
                ok=False,
                detail=str(error).partition(". ")[0],
                remedy="install and start Docker Engine 20.10 or newer, or set DOCKER_HOST",
                needed=True,
            )
        )
    else:
        try:
            findings += _containers(engine)
        finally:
            engine.close()
    findings += [_program(*each) for each in _PROGRAMS]
    return Diagnosis(tuple(findings))


_PROGRAMS = (
    ("etcdctl", "the real client is not tried against our nodes", "apt-get install etcd-client"),
    ("etcd", "our node is not compared with the real one", "apt-get install etcd-server"),
    ("chromium", "the report is not looked at in tests", "apt-get install chromium"),
)


def _guard(name: str, probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 - every failure is a finding
        return Finding(name=name, ok=None, detail=f"{type(error).__name__}: {reason(error)}")


def _python() -> Finding:
    return Finding(
        name="python",
        ok=sys.version_info >= (3, 11),
        detail=f"{platform.python_version()} at {sys.executable}",
        remedy="install Python 3.11 or newer",
        needed=True,
    )


def _cores() -> Finding:
    count = os.cpu_count() or 1
    return Finding(
        name="cores",
        ok=count >= CORES_MIN,
        detail=f"{count}",
        remedy="five nodes on one core elect slowly; use --nodes 3 and a lower --rate",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    return Finding(
        name="disk",
        ok=free >= DISK_FREE_BYTES_MIN,
        detail=f"{free / (1 << 30):.1f} GiB free here",
        remedy="make room, or put the store elsewhere with --store",
    )


def _containers(engine: Docker) -> list[Finding]:
    about = engine.engine
    way = "containers reached directly" if about.direct else "containers reached by published ports"
    findings = [
        Finding(
            name="docker engine",
            ok=True,
            detail=f"{about.version}, cgroup {about.cgroup}, {about.storage}, {way}",
            needed=True,
        ),
        _guard("image", lambda: _image(engine)),
    ]
    image = next((name for name in PROBE_IMAGES if engine.image_id(name)), None)
    for name, probe in _PROBES:
        if image is None:
            findings.append(
                Finding(
                    name=name,
                    ok=None,
                    detail="not known before the image is built",
                    remedy="squall image, then squall doctor again",
                )
            )
        else:
            findings.append(_guard(name, partial(probe, engine, image)))
    return findings


def _image(engine: Docker) -> Finding:
    present = [name for name in PROBE_IMAGES if engine.image_id(name)]
    if present:
        return Finding(name="image", ok=True, detail=f"{present[0]} is built", needed=True)
    bases = [name for name in (base.MADE, base.PULLED) if engine.image_id(name)]
    if bases:
        return Finding(
            name="image", ok=True, detail=f"not built yet; {bases[0]} is here", needed=True
        )
    trouble = base.registry_trouble(engine)
    if trouble is None:
        return Finding(
            name="image", ok=True, detail="not built yet; the registry answers", needed=True
        )
    missing = base.debootstrap_missing()
    return Finding(
        name="image",
        ok=missing is None,
        detail="not built yet; no registry answers"
        + ("" if missing else ", the base will be made with debootstrap"),
        remedy=missing or "",
        needed=True,
    )


def _links(engine: Docker, image: str) -> Finding:
    trouble = _try(engine, image, "squall-links up && squall-links counters")
    return Finding(
        name="iptables",
        ok=trouble is None,
        detail=trouble or "a container can cut its own links",
        remedy="load the kernel's iptables modules (modprobe ip_tables nf_tables); "
        "without them the fault `partition` is left out",
    )


def _clock(engine: Docker, image: str) -> Finding:
    answer = _run(engine, image, _SKEW_PROBE).split()
    off_s = (int(answer[0]) - int(answer[1])) / 1e9
    return Finding(
        name="clock shim",
        ok=abs(off_s - 3600) < 60,
        detail=f"a process told to be an hour ahead is {off_s:.0f} s ahead",
        remedy="squall image builds it; without it the fault `clock` is left out",
    )


def _netem(engine: Docker, image: str) -> Finding:
    trouble = _try(engine, image, "tc qdisc add dev lo root netem delay 1ms")
    return Finding(
        name="netem",
        ok=trouble is None,
        detail=trouble or "a container can delay its packets",
        remedy="modprobe sch_netem; without it faults that delay packets are left out",
    )


def _fuse(engine: Docker, image: str) -> Finding:
    trouble = _try(engine, image, "test -c /dev/fuse", devices=["/dev/fuse"], cap_add=["SYS_ADMIN"])
    return Finding(
        name="fuse",
        ok=trouble is None,
        detail=trouble or "a container can mount file systems of its own",
        remedy="modprobe fuse; without it faults inside the file system are left out",
    )


_PROBES: tuple[tuple[str, Callable[[Docker, str], Finding]], ...] = (
    ("iptables", _links),
    ("clock shim", _clock),
    ("netem", _netem),
    ("fuse", _fuse),
)


def _program(name: str, cost: str, remedy: str) -> Finding:
    path = shutil.which(name)
    return Finding(
        name=name, ok=path is not None, detail=path or f"not installed: {cost}", remedy=remedy
    )


def _try(engine: Docker, image: str, script: str, **settings: Any) -> str | None:
    """Return why a script fails in a container; None if it succeeds."""
    try:
        _run(engine, image, script, **settings)
    except docker.errors.ContainerError as error:
        raw: Any = error.stderr or b""
        said = raw.decode(errors="replace") or str(error)
        return " ".join(said.split())[-200:] or f"exit code {error.exit_status}"
    except docker.errors.APIError as error:
        return reason(error)
    return None


def _run(engine: Docker, image: str, script: str, **settings: Any) -> str:
    output: bytes = engine.client.containers.run(
        image,
        ["sh", "-c", script],
        entrypoint=[],
        remove=True,
        network_mode="none",
        labels={"squall": "1"},
        **({"cap_add": ["NET_ADMIN"]} | settings),
    )
    return output.decode(errors="replace")
