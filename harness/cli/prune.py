"""`squall prune`: removes old runs, images of patched nodes and copies of broken nodes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from squall.harness.retention import disk_bytes, removable_copies, removable_runs, remove
from squall.harness.store import Store

MIB = 1 << 20


@click.command()
@click.option("--store", type=click.Path(path_type=Path), default="store", show_default=True)
@click.option(
    "--runs",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Keep this many of the newest runs, and always the newest of each workload.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=14,
    show_default=True,
    help="Keep every run that began less than so many days ago.",
)
@click.option("--invalid", is_flag=True, help="Also remove INVALID runs, which are kept otherwise.")
@click.option(
    "--images",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Keep this many of the newest images of patched nodes.",
)
@click.option(
    "--copies",
    type=click.Path(path_type=Path),
    default="build/mutants",
    show_default=True,
    help="The folder of copies of broken nodes; those older than a day are removed.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def prune(
    store: Path,
    runs: int,
    days: float,
    invalid: bool,
    images: int,
    copies: Path,
    dry_run: bool,
) -> int:
    """Remove old runs, images of patched nodes and copies of broken nodes.

    A run is removed if it is neither among the newest --runs nor younger than --days. An INVALID
    run is kept unless --invalid is given; so are the newest run of each workload and a run that may
    still be going on.
    """
    now = datetime.now(UTC)
    old = removable_runs(Store(store), newest=runs, days=days, invalid=invalid, now=now)
    folders = [run.path for run in old]
    stale = removable_copies(copies, now)
    freed = 0
    for path in (*folders, *stale):
        size = disk_bytes([path])
        freed += size
        if not dry_run:
            remove(path)
        click.echo(f"{'would remove' if dry_run else 'removed'} {path} ({size / MIB:,.1f} MiB)")
    gone = _prune_images(images, dry_run=dry_run)
    click.echo(
        f"{len(folders)} runs, {len(stale)} copies of broken nodes ({freed / MIB:,.1f} MiB) and "
        f"{gone} images {'would be ' if dry_run else ''}removed"
    )
    return 0


def _prune_images(newest: int, *, dry_run: bool) -> int:
    """Remove all but the newest images of nodes; returns how many. Nothing without an engine."""
    from squall.harness.docker.engine import Docker, NoEngineError
    from squall.harness.docker.image.build import old_node_images, remove_image

    try:
        engine = Docker()
    except NoEngineError:
        click.echo("no Docker engine answers, so no image was looked at", err=True)
        return 0
    try:
        count = 0
        for tag in old_node_images(engine, newest):
            if dry_run or remove_image(engine, tag):
                count += 1
                click.echo(f"{'would remove' if dry_run else 'removed'} {tag}")
        return count
    finally:
        engine.close()
