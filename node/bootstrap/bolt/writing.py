"""Writes a bbolt file from sorted items, front to back, without holding it in memory.

The meta pages come first and name what comes last, so the items are iterated twice: `plan`
measures them and places every page, `pages` writes. A plan holds a few dozen bytes for
each page, whatever the items' size. Trees are filled from the left; no page is ever free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from squall.node.bootstrap.bolt.pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    BUCKET_ITEM,
    FREELIST,
    HEADER,
    LEAF,
    LEAF_ELEMENT,
    META,
    PAGE_BYTES,
    Meta,
    encode_meta,
)

Item = tuple[bytes, bytes]

FREELIST_PAGE: Final = 2
FIRST_PAGE: Final = 3


class Bucket(msgspec.Struct, frozen=True):
    """A bucket to write. `items` gives the same pairs, by ascending key, at each iteration."""

    name: bytes
    items: Iterable[Item] = ()


class _Node(msgspec.Struct, frozen=True, gc=False):
    """A page of a tree: its first key, its elements, and how many pages it takes."""

    key: bytes
    count: int
    pages: int


class _Tree(msgspec.Struct, frozen=True):
    """The levels of a tree, leaves first; the last has one node, or there is none at all."""

    levels: list[list[_Node]]
    first_page: int

    @property
    def end(self) -> int:
        return self.first_page + sum(node.pages for level in self.levels for node in level)

    @property
    def root(self) -> int:
        return self.end - self.levels[-1][0].pages if self.levels else 0


class Plan(msgspec.Struct, frozen=True):
    """The place of everything in the file."""

    buckets: list[Bucket]
    trees: list[_Tree]
    root: _Tree

    @property
    def size_bytes(self) -> int:
        """The size of the whole file."""
        return self.root.end * PAGE_BYTES


def plan(buckets: Iterable[Bucket]) -> Plan:
    """Place every page of a file with these buckets."""
    wanted = sorted(buckets, key=lambda bucket: bucket.name)
    assert wanted, "a file has at least one bucket"
    trees: list[_Tree] = []
    page = FIRST_PAGE
    for bucket in wanted:
        tree = _plan_tree(bucket.items, page)
        trees.append(tree)
        page = tree.end
    return Plan(wanted, trees, _plan_tree(_bucket_items(wanted, trees), page))


def pages(planned: Plan) -> Iterator[bytes]:
    """Write the file: pieces of whole pages, in order, `planned.size_bytes` in all."""
    for number in (0, 1):
        meta = Meta(PAGE_BYTES, planned.root.root, FREELIST_PAGE, planned.root.end, number)
        yield _padded(HEADER.pack(number, META, 0, 0) + encode_meta(meta))
    yield _padded(HEADER.pack(FREELIST_PAGE, FREELIST, 0, 0))
    for bucket, tree in zip(planned.buckets, planned.trees, strict=True):
        yield from _tree_pages(tree, bucket.items, 0)
    items = _bucket_items(planned.buckets, planned.trees)
    yield from _tree_pages(planned.root, items, BUCKET_ITEM)


def _bucket_items(buckets: list[Bucket], trees: list[_Tree]) -> list[Item]:
    empty = HEADER.pack(0, LEAF, 0, 0)  # an empty bucket is inline: its page lies in its value
    return [
        (bucket.name, BUCKET.pack(tree.root, 0) + (b"" if tree.root else empty))
        for bucket, tree in zip(buckets, trees, strict=True)
    ]


def _plan_tree(items: Iterable[Item], first_page: int) -> _Tree:
    level = list(_leaves(items))
    levels = [level] if level else []
    while len(level) > 1:
        sizes = ((node.key, BRANCH_ELEMENT.size + len(node.key)) for node in level)
        level = list(_filled(sizes))
        levels.append(level)
    return _Tree(levels, first_page)


def _leaves(items: Iterable[Item]) -> Iterator[_Node]:
    overhead = LEAF_ELEMENT.size
    return _filled((key, overhead + len(key) + len(value)) for key, value in items)


def _filled(elements: Iterable[tuple[bytes, int]]) -> Iterator[_Node]:
    """Group (key, size) into nodes of a page each; what is larger than a page has pages alone."""
    first, count, size = b"", 0, HEADER.size
    previous: bytes | None = None
    for key, needed in elements:
        assert previous is None or previous < key, (previous, key)
        previous = key
        if count and size + needed > PAGE_BYTES:
            yield _Node(first, count, _page_count(size))
            count, size = 0, HEADER.size
        if not count:
            first = key
        count += 1
        size += needed
    if count:
        yield _Node(first, count, _page_count(size))


def _page_count(size: int) -> int:
    return -(-size // PAGE_BYTES)


def _tree_pages(tree: _Tree, items: Iterable[Item], flags: int) -> Iterator[bytes]:
    page = tree.first_page
    children: list[tuple[bytes, int]] = []
    rest = iter(items)
    for height, level in enumerate(tree.levels):
        below = iter(children)
        children = []
        for node in level:
            children.append((node.key, page))
            if height:
                body = _branch(list(islice(below, node.count)))
            else:
                body = _leaf(list(islice(rest, node.count)), flags)
            kind = BRANCH if height else LEAF
            data = _padded(HEADER.pack(page, kind, node.count, node.pages - 1) + body)
            assert len(data) == node.pages * PAGE_BYTES, "the items changed since they were planned"
            yield data
            page += node.pages


def _leaf(items: list[Item], flags: int) -> bytes:
    elements: list[bytes] = []
    contents: list[bytes] = []
    position = len(items) * LEAF_ELEMENT.size
    for key, value in items:
        elements.append(LEAF_ELEMENT.pack(flags, position, len(key), len(value)))
        contents += (key, value)
        position += len(key) + len(value) - LEAF_ELEMENT.size
    return b"".join((*elements, *contents))


def _branch(children: list[tuple[bytes, int]]) -> bytes:
    elements: list[bytes] = []
    contents: list[bytes] = []
    position = len(children) * BRANCH_ELEMENT.size
    for key, page in children:
        elements.append(BRANCH_ELEMENT.pack(position, len(key), page))
        contents.append(key)
        position += len(key) - BRANCH_ELEMENT.size
    return b"".join((*elements, *contents))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % PAGE_BYTES)
