"""A directory is synced, and said how in one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hp_pipeline.durability import sync_directory

PRODUCT = Path(__file__).parents[1] / "hp_pipeline"


def test_a_directory_is_synced_and_let_go_of_even_when_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((descriptor, Path(f"/proc/self/fd/{descriptor}").readlink()))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        sync_directory(tmp_path)
    ((descriptor, folder),) = synced
    assert folder == tmp_path
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_nobody_says_it_again() -> None:
    said = [
        path.relative_to(PRODUCT).as_posix()
        for path in PRODUCT.rglob("*.py")
        if "O_RDONLY)" in path.read_text() and "os.fsync(" in path.read_text()
    ]
    assert said == ["durability.py"]
