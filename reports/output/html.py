"""The HTML page: one file that loads nothing.

Everything is inlined. The content security policy is `default-src 'none'` with the hashes of the
one style sheet and the one script: a browser that honours it cannot load, send or run anything
else, whatever values the database returned. Jinja's autoescape is on; nothing is marked safe but
these two assets and JSON that was escaped for a script element.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from squall.checkers.text.words import counted
from squall.reports import formatting
from squall.reports.output import columns
from squall.reports.output.timeline import timeline, to_script
from squall.reports.report import CARDS_MAX, Report
from squall.reports.view import errors, logs, tables

PAGE = "report.html.j2"

LIMITS = {
    "operations": columns.OPS_MAX,
    "cards": CARDS_MAX,
    "errors": errors.ROWS_MAX,
    "lines": logs.EXCERPT_LINES_MAX,
    "value": columns.VALUE_CHARS_MAX,
}
"""The bounds of the page, which it states."""


def render(report: Report) -> bytes:
    """Render the page."""
    style, script = asset("report.css"), asset("report.js")
    held = columns.on_page(report)
    axis = timeline(report, held)
    text = (
        environment()
        .get_template(PAGE)
        .render(
            report=report,
            run=report.run,
            policy=policy(style, script),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            held=len(held),
            columns=columns.encode(held, axis["processes"]),
            timeline=Markup(to_script(axis)),  # noqa: S704 - escaped by to_script
            limits=LIMITS,
        )
    )
    return text.encode("utf-8")


def policy(style: str, script: str) -> str:
    """Return the policy that allows this style and this script, and nothing else."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def asset(name: str) -> str:
    """Return the text of a file in assets/."""
    return files("squall.reports").joinpath("assets", name).read_text(encoding="utf-8")


def environment() -> Environment:
    """Return the templates' environment: autoescape on, an undefined name is an error."""
    made = Environment(
        loader=PackageLoader("squall.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        seconds=formatting.seconds,
        duration=formatting.duration,
        count=formatting.count,
        grid=tables.grid,
        value=formatting.value,
        exchange=formatting.exchange,
        counted=counted,
    )
    made.globals.update(outcome_glyphs=formatting.OUTCOME_GLYPHS, glyphs=formatting.GLYPHS)
    made.tests["structured"] = lambda thing: isinstance(thing, dict | list | tuple)
    return made
