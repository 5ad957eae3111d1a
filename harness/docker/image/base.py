"""The base image: plain Debian, pulled from a registry, or made with debootstrap without one.

If no registry can be reached, the same Dockerfile builds on a file system that debootstrap
assembles from Debian's packages. A pull that makes no progress is given up after seconds.

debootstrap runs on the user's machine. It is installed only if it is missing, only by root, and
only after a message that says how to forbid it; otherwise nothing on the machine is changed, and
the error names the command to type.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import docker.errors
import requests.exceptions

from squall.harness.cluster import HarnessError
from squall.harness.docker.engine import Docker, reason
from squall.harness.vocabulary import NO_INSTALL

SUITE = "bookworm"
PULLED = f"debian:{SUITE}-slim"
MADE = f"squall-base:{SUITE}"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("debootstrap", "debian-archive-keyring")
INCLUDED = ("ca-certificates", "iproute2", "iptables", "python3")

PULL_SILENCE_S = 20
"""A registry that sends nothing for this long cannot be reached; a slow one reports progress."""

DEBOOTSTRAP_TIMEOUT_S = 900
"""It takes 40 s on a fast connection."""


def ensure_base(engine: Docker, say: Callable[[str], None]) -> str:
    """Return the name of a base image that the engine has, after pulling or making it.

    SQUALL_BASE_IMAGE names another one. Raises HarnessError with the command to type.
    """
    if wanted := os.environ.get("SQUALL_BASE_IMAGE"):
        if not engine.image_id(wanted) and (why := _pull(engine, wanted, say)):
            raise HarnessError(
                f"SQUALL_BASE_IMAGE={wanted} is not here and cannot be pulled: {why}"
            )
        return wanted
    for name in (MADE, PULLED):
        if engine.image_id(name):
            return name
    why = _pull(engine, PULLED, say)
    if why is None:
        return PULLED
    say(f"no registry ({why}); making the base from Debian's packages instead")
    _make(engine, say)
    return MADE


def registry_trouble(engine: Docker) -> str | None:
    """Return why no image can be pulled, or None. Downloads only the image's description."""
    try:
        engine.api.inspect_distribution(PULLED)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return reason(error)
    return None


def debootstrap_missing() -> str | None:
    """Return why no base can be made here, with the remedy; None if one can be made."""
    missing = shutil.which("debootstrap") is None
    apt = shutil.which("apt-get") is not None
    command = f"apt-get install {' '.join(PACKAGES)}"
    elsewhere = f"or, where a registry answers, `docker pull {PULLED}`"
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        first = f"`sudo {command}` and then " if missing and apt else ""
        return f"debootstrap needs root: type {first}`sudo squall image`, {elsewhere}"
    if missing and not apt:
        return (
            "debootstrap is not installed and there is no apt-get to install it with: install "
            f"debootstrap, name a base with SQUALL_BASE_IMAGE, {elsewhere}"
        )
    if missing and forbidden():
        return (
            f"debootstrap is not installed, and {NO_INSTALL} or --no-install forbids to install "
            f"it: type `{command}`, {elsewhere}"
        )
    return None


def forbidden() -> bool:
    """Whether nothing may be installed on this machine."""
    return os.environ.get(NO_INSTALL, "0") not in ("", "0", "no")


def _pull(engine: Docker, name: str, say: Callable[[str], None]) -> str | None:
    """Pull an image; return why it failed, or None."""
    say(f"pulling {name}")
    short_timeout = Docker(timeout_s=PULL_SILENCE_S)
    try:
        for line in short_timeout.api.pull(name, stream=True, decode=True):
            if "error" in line:
                return str(line["error"])
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return reason(error)
    finally:
        short_timeout.close()
    return None if engine.image_id(name) else "the pull ended without an image"


def _make(engine: Docker, say: Callable[[str], None]) -> None:
    missing = debootstrap_missing()
    if missing:
        raise HarnessError(f"no base image: no registry answers, and {missing}")
    if shutil.which("debootstrap") is None:
        say(
            f"*** INSTALLING {' and '.join(PACKAGES)} ON THIS MACHINE: running `apt-get update` "
            f"and `apt-get install -y {' '.join(PACKAGES)}` as root, as debootstrap is missing. "
            f"{NO_INSTALL}=1 or --no-install forbids it ***"
        )
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", *PACKAGES])
    mirror = os.environ.get("SQUALL_DEBIAN_MIRROR", MIRROR)
    with tempfile.TemporaryDirectory(prefix="squall-base-") as directory:
        root = Path(directory) / "root"
        say(f"debootstrap {SUITE} from {mirror} (about a minute)")
        _run(
            [
                *("debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}"),
                *(SUITE, str(root), mirror),
            ]
        )
        for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            package.unlink()
        say(f"importing it as {MADE}")
        _import(engine, root)


def _import(engine: Docker, root: Path) -> None:
    repository, _, tag = MADE.partition(":")
    archive = root.with_suffix(".tar")
    _run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), "."])
    answer = engine.api.import_image_from_file(
        str(archive), repository=repository, tag=tag, changes=["LABEL squall=1", 'CMD ["sh"]']
    )
    if "error" in str(answer):
        raise HarnessError(f"docker import of the base failed: {answer}")


def _run(command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    with tempfile.TemporaryFile() as log:
        try:
            code = subprocess.run(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=DEBOOTSTRAP_TIMEOUT_S,
                env=environment,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{command[0]}: no end after {DEBOOTSTRAP_TIMEOUT_S} s") from None
        if code:
            raise HarnessError(f"{command[0]} failed: {_tail(log)}")


def _tail(log: io.IOBase) -> str:
    """Return the last few lines of a log, on one."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-5:] if line.strip())
