"""The modules of the node's core import each other without a circle, for type checking too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

NODE = Path(__file__).resolve().parents[2] / "node"
CORE = ("raft", "replica", "storage", "mvcc")


def module_of(path: Path) -> str:
    parts = path.relative_to(NODE.parent).with_suffix("").parts
    return ".".join(("squall", *parts)).removesuffix(".__init__")


def imports() -> dict[str, set[str]]:
    """Every module of the core and the modules of the core it imports, wherever it does so."""
    paths = {module_of(path): path for folder in CORE for path in (NODE / folder).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        found = graph[module] = set()
        for each in ast.walk(ast.parse(path.read_text())):
            if isinstance(each, ast.Import):
                found.update(alias.name for alias in each.names)
            elif isinstance(each, ast.ImportFrom) and each.module:
                inside = {f"{each.module}.{alias.name}" for alias in each.names} & paths.keys()
                found.update(inside or {each.module})
        found &= paths.keys()
    return graph


def test_no_module_of_the_core_imports_itself_by_way_of_others() -> None:
    graph = imports()
    assert len(graph["squall.node.raft.raft"]) > 5, "the imports were not read"
    TopologicalSorter(graph).prepare()
