"""The node's Python packages as wheels, downloaded by the host's pip for the image's Python.

The image build itself needs no package index. Versions are those of the controller's environment,
so that aetcd's descriptors, gRPC and protobuf agree on both sides. Packages that the controller
does not have (an extra that was not installed) are taken in their newest version.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from squall.harness.cluster import HarnessError

PACKAGES = (
    "aetcd",
    "bcrypt",
    "crc32c",
    "cryptography",
    "grpcio",
    "h11",
    "hpack",
    "msgspec",
    "prometheus-client",
    "protobuf",
    "pyyaml",
    "sortedcontainers",
    "uvloop",
)
"""What the node imports; Squall's other dependencies are needed by the controller only."""

NEWEST_MANYLINUX = 36
"""Debian bookworm's glibc is 2.36; a wheel built for a newer one would not load."""

DOWNLOAD_TIMEOUT_S = 600
"""Some 20 MB: ten minutes suffice on a slow connection."""


def requirements() -> tuple[str, ...]:
    """Return the pinned requirement lines of the node, sorted."""
    return tuple(_pin(name) for name in PACKAGES)


def _pin(name: str) -> str:
    try:
        return f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name


def fill(
    directory: Path, *, python_version: str, architecture: str, say: Callable[[str], None]
) -> None:
    """Download every wheel into `directory`, pip's own included, and write requirements.txt.

    `python_version` is the image's ("3.11"), `architecture` the engine's ("x86_64"). Raises
    HarnessError with pip's last lines if a wheel cannot be downloaded.
    """
    pinned = requirements()
    directory.mkdir(parents=True, exist_ok=True)
    say(f"fetching {len(pinned)} packages for Python {python_version} on {architecture}")
    chosen: Sequence[str] = pinned
    failed = _download(directory, chosen, python_version, architecture)
    if failed:
        # The controller's Python may be newer than the image's, and its packages may have moved on.
        chosen = tuple(line.partition("==")[0] for line in pinned)
        say(f"not all of them as installed here ({failed}); taking the versions that fit")
        failed = _download(directory, chosen, python_version, architecture)
    if failed:
        raise HarnessError(
            f"the node's packages could not be fetched with pip: {failed}. "
            "Check pip's index settings (pip config list) and the network"
        )
    (directory / "requirements.txt").write_text("\n".join(chosen) + "\n")


def _download(
    directory: Path, lines: Sequence[str], python_version: str, architecture: str
) -> str | None:
    """Return None, or the last error line of pip."""
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(17, NEWEST_MANYLINUX + 1)]
    platforms += [f"manylinux2014_{architecture}", f"manylinux1_{architecture}"]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", python_version),
        *(flag for platform in platforms for flag in ("--platform", platform)),
        *("--dest", str(directory), "pip", *lines),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {DOWNLOAD_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    said = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in said if line.startswith("ERROR")] or said
    return errors[-1].removeprefix("ERROR: ") if errors else f"exit code {done.returncode}"
