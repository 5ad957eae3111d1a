"""Links from docs/ to files outside of it, for the site: mkdocs knows only what docs/ holds.

In the repository such a link is relative (`../tests/...`), and a reader follows it there. On the
site it becomes a link into the repository at `repo_url`, or, if none is configured, the link's text
alone. A link to a file that does not exist is an error here as everywhere.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>\.\./[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
BRANCH = "main"


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001
    """Rewrite the links of one page; raises FileNotFoundError for a target that does not exist."""
    folder = posixpath.dirname(page.file.src_uri)
    docs = Path(config["docs_dir"])

    def rewritten(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link["target"]))
        if path.startswith("docs/"):
            return link[0]
        if not (docs.parent / path).exists():
            raise FileNotFoundError(f"{page.file.src_uri}: {link['target']}")
        if not config["repo_url"]:
            return link["text"]
        kind = "tree" if (docs.parent / path).is_dir() else "blob"
        url = f"{config['repo_url'].rstrip('/')}/{kind}/{BRANCH}/{path}"
        return f"[{link['text']}]({url}{link['anchor'] or ''})"

    return LINK.sub(rewritten, markdown)
