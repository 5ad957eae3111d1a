"""What every test may lean on: whether a Docker engine answers, and where a program is."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

REAL = ("docker", "harness/clients", "harness/test_store.py", "harness/cli/test_startup.py")
REAL += (
    "harness/cli/test_main.py",
    "harness/cli/test_make_target.py",
    "node/api",
    "node/auth",
    "node/bootstrap",
    "node/clients",
)
REAL += ("node/config", "node/peer", "node/server", "node/tls", "reports/test_report_page.py")
"""Where tests start processes, containers and browsers, on cores that they share with strangers."""

# How long an example takes says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@functools.cache
def docker_engine() -> str | None:
    """Return why there is no engine, or None when one answers."""
    try:
        import docker

        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason to skip
        return f"{type(error).__name__}: {error}"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs a Docker engine where none answers; give what is real a second chance."""
    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            where = item.path.relative_to(ROOT / "tests").as_posix()
            if where.startswith(REAL):
                item.add_marker(pytest.mark.flaky(reruns=1))
    if any(item.get_closest_marker("docker") for item in items) and (why := docker_engine()):
        skip = pytest.mark.skip(reason=f"no Docker engine answers: {why}")
        for item in items:
            if item.get_closest_marker("docker"):
                item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly when container tests did not run, and what only passed when run again."""
    again = terminalreporter.stats.get("rerun", [])
    if again:
        terminalreporter.section("FAILED AT FIRST", sep="!", red=True, bold=True)
        terminalreporter.line("Run again at once. A defect of the product until proved otherwise:")
        for report in again:
            terminalreporter.section(report.nodeid, sep="-")
            terminalreporter.line(str(report.longrepr))
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "no Docker engine" in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("CONTAINER TESTS DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests skipped: {docker_engine()}")
        terminalreporter.line("Start Docker (or set DOCKER_HOST) and run `make test` again.")


@pytest.fixture
def program():
    """Return the path of a program, or skip the test saying which is missing."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed (tests/install-tools brings it)")
        return path

    return find
