"""The image of the nodes: built if its inputs changed, reused otherwise.

Two images, each named by the hash of its inputs. `squall-deps:<hash>` holds Debian, the
clock shim and the wheels, and takes minutes; `squall-node:<hash>` adds the node package and takes
seconds, so every patched copy of the node has an image of its own. The hash is computed before
anything is built: a second run makes one request to the engine and builds nothing.

A lock file serialises the builds of several processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker.errors
import msgspec
import requests.exceptions

from squall.harness.cluster import HarnessError
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.image import wheelhouse
from squall.harness.docker.image.base import ensure_base
from squall.harness.node_source import PACKAGE

LABEL = "squall"
DEPS, NODE = "squall-deps", "squall-node"
SHIM_AND_SCRIPTS = ("clock.c", "squall-clock", "squall-links", "entrypoint.sh")
EXECUTABLE = frozenset({"squall-clock", "squall-links", "entrypoint.sh"})

NODE_IMAGES_MAX = 40
"""Images of nodes kept by a build; older ones are removed. A layer is under 2 MB."""

BUILD_TIMEOUT_S = 900
"""One step (installing a compiler over a slow connection) may produce no output for long."""

LOG_LINES_SHOWN = 12
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

Say = Callable[[str], None]


class ImageRef(msgspec.Struct, frozen=True, kw_only=True):
    """An image of the node: its tag, its content id, and whether this call had to build it."""

    tag: str
    digest: str
    built: bool


def ensure_image(node_source: Path | None, progress: Say) -> ImageRef:
    """Return the image for a node package, building what is missing.

    `node_source` is the directory of a `node` package (None: that of this installation).
    `progress` is called with one line for each step. Raises HarnessError when it cannot be built.
    """
    own = (PACKAGE / "node").resolve()
    source = node_source or own
    if not (source / "__main__.py").is_file():
        raise HarnessError(f"{source} is no node package: it has no __main__.py")
    recipes = recipe_directory()
    package = read_package(source)
    engine = Docker()
    try:
        deps = f"{DEPS}:{deps_key(recipes, wheelhouse.requirements())}"
        tag = f"{NODE}:{node_key(recipes, package, deps)}"
        built = False
        if not engine.image_id(tag):
            with _locked(progress):
                if not engine.image_id(tag):
                    if not engine.image_id(deps):
                        _build_deps(recipes, deps, progress)
                    _build_node(recipes, package, deps, tag, progress)
                    for old in old_node_images(engine, NODE_IMAGES_MAX):
                        if old != tag:
                            remove_image(engine, old)
                    built = True
        image = engine.client.images.get(tag)
        if source.resolve() == own:
            # The image that compose.yaml uses: never a patched copy.
            image.tag(NODE, "latest")
        return ImageRef(tag=tag, digest=str(image.id), built=built)
    finally:
        engine.close()


def recipe_directory() -> Path:
    """Return the folder of the Dockerfiles, which is part of the package."""
    directory = (PACKAGE / "docker").resolve()
    if (directory / "Dockerfile").is_file():
        return directory
    raise HarnessError("this installation of Squall lacks its docker/ directory; install it again")


def deps_key(recipes: Path, requirements: tuple[str, ...]) -> str:
    """Return the hash of everything that goes into the dependencies' image."""
    files = {name: (recipes / name).read_bytes() for name in ("Dockerfile", *SHIM_AND_SCRIPTS)}
    files["requirements"] = "\n".join(requirements).encode()
    files["base"] = os.environ.get("SQUALL_BASE_IMAGE", "").encode()
    return _digest(files)


def node_key(recipes: Path, package: Mapping[str, bytes], deps: str) -> str:
    """Return the hash of the node's files, their Dockerfile and the dependencies' image."""
    return _digest({**package, "/deps": deps.encode(), "/recipe": _node_recipe(recipes)})


def read_package(source: Path) -> dict[str, bytes]:
    """Read a package's files once, so that what is hashed is what is built."""
    return {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def _digest(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{len(files[name])}\0".encode())
        total.update(files[name])
    return total.hexdigest()[:16]


def _node_recipe(recipes: Path) -> bytes:
    return (recipes / "node.Dockerfile").read_bytes()


@contextlib.contextmanager
def _locked(say: Say) -> Iterator[None]:
    """Serialise the builds of this user's processes."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "squall"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        directory = Path(tempfile.gettempdir())
    with (directory / "image.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another Squall is building an image; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_deps(recipes: Path, tag: str, say: Say) -> None:
    engine = Docker(timeout_s=BUILD_TIMEOUT_S)
    try:
        base = ensure_base(engine, say)
        files = {name: (recipes / name).read_bytes() for name in ("Dockerfile", *SHIM_AND_SCRIPTS)}
        say(f"installing system packages on {base}")
        system = _build(engine, files, base=base, target="system")
        version = _python_version(engine, system)
        with tempfile.TemporaryDirectory(prefix="squall-wheels-") as directory:
            wheels = Path(directory)
            wheelhouse.fill(
                wheels, python_version=version, architecture=_architecture(engine), say=say
            )
            files |= {f"wheels/{path.name}": path.read_bytes() for path in wheels.iterdir()}
        say("compiling the clock shim and installing the packages")
        _build(engine, files, base=base, target="deps", tag=tag)
        engine.client.images.get(tag).tag(DEPS, "latest")
    finally:
        engine.close()


def _build_node(recipes: Path, package: Mapping[str, bytes], deps: str, tag: str, say: Say) -> None:
    say(f"adding the node to {deps}")
    files = {f"node/{name}": content for name, content in package.items()}
    files["Dockerfile"] = _node_recipe(recipes)
    engine = Docker(timeout_s=BUILD_TIMEOUT_S)
    try:
        _build(engine, files, deps=deps, tag=tag)
    finally:
        engine.close()


def _build(
    engine: Docker,
    files: Mapping[str, bytes],
    *,
    tag: str | None = None,
    target: str | None = None,
    **arguments: str,
) -> str:
    """Build from a context in memory with the engine's classic builder; return the image's id."""
    settings = {name.upper(): value for name, value in arguments.items()}
    settings |= {name: os.environ[name] for name in PROXIES if os.environ.get(name)}
    lines: list[str] = []
    image = ""
    try:
        stream = engine.api.build(
            fileobj=context_archive(files),
            custom_context=True,
            decode=True,
            rm=True,
            forcerm=True,
            buildargs=settings,
            labels={LABEL: "1"},
            **({"tag": tag} if tag else {}),
            **({"target": target} if target else {}),
        )
        for part in stream:
            image = str(part.get("aux", {}).get("ID") or image)
            text = part.get("stream") or part.get("error") or ""
            lines.extend(line.rstrip() for line in text.splitlines() if line.strip())
            if built := re.search(r"Successfully built ([0-9a-f]+)", text):
                image = image or built.group(1)
            if "error" in part:
                shown = "\n  ".join(lines[-LOG_LINES_SHOWN:])
                raise HarnessError(f"the image build failed; its last lines:\n  {shown}")
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HarnessError(f"the image build failed: {reason(error)}") from error
    return image


def context_archive(files: Mapping[str, bytes]) -> io.BytesIO:
    """Pack a build context; equal files give equal bytes, so that layers are reused."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o755 if name in EXECUTABLE else 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
    archive.seek(0)
    return archive


def _python_version(engine: Docker, image: str) -> str:
    try:
        said: Any = engine.client.containers.run(
            image,
            ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            entrypoint=[],
            network_disabled=True,
            remove=True,
            labels={LABEL: "1"},
        )
    except docker.errors.DockerException as error:
        raise HarnessError(f"the base image has no working python3: {reason(error)}") from error
    return str(said.decode().strip())


def _architecture(engine: Docker) -> str:
    """Return the engine's architecture as wheels name it."""
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(
        engine.engine.architecture, engine.engine.architecture
    )


def old_node_images(engine: Docker, newest: int) -> list[str]:
    """Return the tags of the node's images beyond the `newest`; never `latest`."""
    images = engine.api.images(name=NODE)
    images.sort(key=lambda image: image["Created"], reverse=True)
    tags = [tag for image in images[newest:] for tag in image.get("RepoTags") or ()]
    return [tag for tag in tags if tag != f"{NODE}:latest"]


def remove_image(engine: Docker, tag: str) -> bool:
    """Remove an image; returns False if a container uses it, or it is gone already."""
    try:
        engine.api.remove_image(tag)
    except docker.errors.APIError:
        return False
    return True
