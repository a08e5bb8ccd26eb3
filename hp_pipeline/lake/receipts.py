"""What the footer of a partition file says of each partition that it holds: whether one is due is told by the files
alone, without a database beside them that could disagree."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from hp_pipeline.lake.content import HASHED_BY
from hp_pipeline.lake.encoding import UNREADABLE
from hp_pipeline.lake.files import Identity, identity
from hp_pipeline.lake.sound import read_footer

_MOST = 20_000
"""Files whose receipts are remembered."""


@dataclass(frozen=True)
class Receipt:
    """What is known of a stored partition.

    Attributes:
        content: identity of the content; equal content has an equal one.
        inputs: fingerprint of what it was made from, as the writer gave it.
        rows: number of rows.
    """

    content: str
    inputs: str
    rows: int


def footer_of_one(receipt: Receipt) -> dict[str, str]:
    """The footer of a file that holds one partition."""
    return {
        "hp.content": receipt.content,
        "hp.inputs": receipt.inputs,
        "hp.rows": str(receipt.rows),
        "hp.hashed_by": HASHED_BY,
    }


def footer_of_many(receipts: Mapping[str, Receipt]) -> dict[str, str]:
    """The footer of a file that holds several, in the order of their rows."""
    listed = {key: [receipt.content, receipt.inputs, receipt.rows] for key, receipt in receipts.items()}
    return {"hp.partitions": json.dumps(listed, separators=(",", ":")), "hp.hashed_by": HASHED_BY}


def places_of(receipts: Mapping[str, Receipt]) -> dict[str, tuple[int, int]]:
    """Of each partition of a file where its rows begin, and how many they are."""
    ends = accumulate(receipt.rows for receipt in receipts.values())
    return {key: (end - receipt.rows, receipt.rows) for (key, receipt), end in zip(receipts.items(), ends, strict=True)}


@dataclass
class Receipts:
    """The receipts of files, by partition; read once for as long as a file is not replaced. Used by several threads."""

    _known: dict[Path, tuple[Identity, dict[str, Receipt]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: Path, file: Identity, receipts: Mapping[str, Receipt]) -> None:
        """A file was written with these."""
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[path] = file, dict(receipts)

    def of(self, path: Path) -> dict[str, Receipt]:
        """The receipts in a file's footer, a single one under the empty key; none when the file is not there or its
        footer unreadable."""
        try:
            file = identity(os.stat(path))  # noqa: PTH116 - as in `lake.months`
            known = self._known.get(path)
            if known is None or known[0] != file:
                file, footer = read_footer(path)
                known = file, receipts_in(footer)
                self.put(path, *known)
        except UNREADABLE:
            return {}
        return known[1]


def receipts_in(footer: Mapping[str, str]) -> dict[str, Receipt]:
    """The receipts in a footer.

    Raises:
        ValueError: they are none.
    """
    try:
        if "hp.partitions" in footer:
            listed = json.loads(footer["hp.partitions"])
            return {key: Receipt(content, inputs, int(rows)) for key, (content, inputs, rows) in listed.items()}
        if "hp.content" in footer:
            return {"": Receipt(footer["hp.content"], footer.get("hp.inputs", ""), int(footer.get("hp.rows", "0")))}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"its receipts are none: {error}") from error
    return {}
