"""The page: one file that asks nobody for anything.

Everything is inlined. A content security policy of `default-src 'none'` with the hashes of our one
style sheet and one script is the proof: a browser that honours it cannot load, send or run anything
else, whatever the database wrote into its values. Jinja's autoescape is on; no value is ever marked
safe except our own two assets and JSON that was escaped for a script element.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from squall.reports import words
from squall.reports.view import columns, errors, logs, tables
from squall.reports.view.report import CARDS_MAX, Report
from squall.reports.view.timeline import to_script

PAGE = "report.html.j2"

LIMITS = {
    "operations": columns.OPS_MAX,
    "cards": CARDS_MAX,
    "errors": errors.ROWS_MAX,
    "lines": logs.EXCERPT_LINES_MAX,
    "value": columns.VALUE_CHARS_MAX,
}
"""The bounds of the page, as the page states them."""


def render(report: Report) -> bytes:
    """Write the page."""
    style, script = asset("report.css"), asset("report.js")
    text = (
        environment()
        .get_template(PAGE)
        .render(
            report=report,
            run=report.run,
            policy=policy(style, script),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            scene=Markup(to_script(report.scene)),  # noqa: S704 - escaped by to_script
            limits=LIMITS,
        )
    )
    return text.encode("utf-8")


def policy(style: str, script: str) -> str:
    """Allow exactly this style and this script, and nothing else at all."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def asset(name: str) -> str:
    """Read one of the package's own files."""
    return files("squall.reports").joinpath("assets", name).read_text(encoding="utf-8")


def environment() -> Environment:
    """Build the templates' environment: autoescape on, a misspelt name is an error."""
    made = Environment(
        loader=PackageLoader("squall.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        seconds=words.seconds,
        duration=words.duration,
        count=words.count,
        grid=tables.grid,
        value=words.value,
        exchange=words.exchange,
        plural=words.plural,
    )
    made.globals.update(outcome_glyphs=words.OUTCOME_GLYPHS, glyphs=words.GLYPHS)
    made.tests["structured"] = lambda thing: isinstance(thing, dict | list | tuple)
    return made
