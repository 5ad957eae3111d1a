"""Reads the buckets of a bbolt file from an untrusted source.

Every position is checked before it is followed; a tree deeper than any file can need, or one that
comes back to a page it has been on, is damage like any other. What a damaged file raises is always
DamagedFileError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from squall.node.bootstrap.bolt.pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    BUCKET_ITEM,
    HEADER,
    LEAF,
    LEAF_ELEMENT,
    META,
    META_BYTES,
    DamagedFileError,
    Meta,
    decode_meta,
)

Item = tuple[bytes, bytes]

MAX_DEPTH: Final = 64
"""A tree of two children a page would need 2^64 pages to be deeper."""
PAGE_BYTES_MIN: Final = 512
PAGE_BYTES_MAX: Final = 64 * 1024
"""The memory pages of all machines etcd runs on; the second meta page is looked for at each."""


class Database:
    """A file's content: `data` is bytes or a memory map of it."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self.meta = _newest_meta(self._data)
        if self.meta.high_water * self.meta.page_bytes > len(self._data):
            raise DamagedFileError(
                f"it has {len(self._data)} bytes, but its {self.meta.high_water} pages of "
                f"{self.meta.page_bytes} need more: it was cut"
            )
        self._buckets = {
            key: value for flags, key, value in self._walk(self.meta.root) if flags & BUCKET_ITEM
        }

    @property
    def names(self) -> list[bytes]:
        """The names of the buckets, in order."""
        return list(self._buckets)

    def items(self, name: bytes) -> Iterator[Item]:
        """Yield a bucket's items by ascending key; none when there is no such bucket."""
        value = self._buckets.get(name)
        if value is None:
            return
        if len(value) < BUCKET.size:
            raise DamagedFileError(f"the bucket {name!r} has no header")
        root, _ = BUCKET.unpack_from(value)
        if root:
            elements = self._walk(root)
        else:
            elements = _leaf_elements(memoryview(value)[BUCKET.size :], "an inline bucket")
        previous: bytes | None = None
        for flags, key, content in elements:
            if previous is not None and key <= previous:
                raise DamagedFileError(f"the keys of bucket {name!r} are not in order")
            previous = key
            if not flags & BUCKET_ITEM:
                yield key, content

    def _walk(self, root: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield the elements (flags, key, value) of the tree at a page, from left to right."""
        seen = 0
        stack = [(root, 0)]
        while stack:
            number, depth = stack.pop()
            seen += 1
            if seen > self.meta.high_water or depth > MAX_DEPTH:
                raise DamagedFileError(f"the tree at page {root} does not end")
            page, kind = self._page(number)
            if kind == LEAF:
                yield from _leaf_elements(page, f"page {number}")
            elif kind == BRANCH:
                children = _children(page, f"page {number}")
                stack += [(child, depth + 1) for child in reversed(children)]
            else:
                raise DamagedFileError(f"page {number} is of kind {kind:#x}, not part of a tree")

    def _page(self, number: int) -> tuple[memoryview, int]:
        size = self.meta.page_bytes
        if not 1 < number < self.meta.high_water:
            raise DamagedFileError(f"it refers to page {number} of {self.meta.high_water}")
        stated, kind, _, overflow = HEADER.unpack_from(self._data, number * size)
        if stated != number:
            raise DamagedFileError(f"page {number} says that it is page {stated}")
        end = number + 1 + overflow
        if end > self.meta.high_water:
            raise DamagedFileError(f"page {number} goes on behind the last page")
        return self._data[number * size : end * size], kind


def _newest_meta(data: memoryview) -> Meta:
    found = []
    reason: DamagedFileError | None = None
    sizes = [PAGE_BYTES_MIN << shift for shift in range(8)]
    assert sizes[-1] == PAGE_BYTES_MAX, sizes
    for offset in (0, *sizes):
        try:
            meta = _meta_at(data, offset)
        except DamagedFileError as error:
            reason = reason or error
            continue
        if offset in (0, meta.page_bytes):
            found.append(meta)
    if not found:
        assert reason is not None, "no meta page and no reason"
        raise reason
    newest = max(found, key=lambda meta: meta.transaction)
    if newest.page_bytes not in sizes:
        raise DamagedFileError(f"its pages have {newest.page_bytes} bytes")
    return newest


def _meta_at(data: memoryview, offset: int) -> Meta:
    start = offset + HEADER.size
    if len(data) < start + META_BYTES:
        raise DamagedFileError("it is too short for a bbolt file")
    _, kind, _, _ = HEADER.unpack_from(data, offset)
    meta = decode_meta(bytes(data[start : start + META_BYTES]))
    if kind != META:
        raise DamagedFileError("its meta page is of another kind")
    return meta


def _leaf_elements(page: memoryview, where: str) -> Iterator[tuple[int, bytes, bytes]]:
    if len(page) < HEADER.size or HEADER.unpack_from(page)[1] != LEAF:
        raise DamagedFileError(f"{where} has no leaf")
    for start in _element_starts(page, LEAF_ELEMENT, where):
        flags, position, key_bytes, value_bytes = LEAF_ELEMENT.unpack_from(page, start)
        key_at = start + position
        value_at = key_at + key_bytes
        if value_at + value_bytes > len(page):
            raise DamagedFileError(f"{where} has an item that ends behind it")
        yield flags, bytes(page[key_at:value_at]), bytes(page[value_at : value_at + value_bytes])


def _children(page: memoryview, where: str) -> list[int]:
    return [
        BRANCH_ELEMENT.unpack_from(page, start)[2]
        for start in _element_starts(page, BRANCH_ELEMENT, where)
    ]


def _element_starts(page: memoryview, element: struct.Struct, where: str) -> range:
    count = HEADER.unpack_from(page)[2]
    end = HEADER.size + count * element.size
    if end > len(page):
        raise DamagedFileError(f"{where} has more elements than fit it")
    return range(HEADER.size, end, element.size)
