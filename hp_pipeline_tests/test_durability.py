"""A directory is synced, and said how in one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hp_pipeline.durability import sync_directory, write_durably

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


@pytest.mark.parametrize("failing", ["fsync", "replace", "open"])
def test_a_file_is_replaced_whole_or_stays_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "kept.json"
    write_durably(path, b"old")

    def fails(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os if failing == "fsync" else Path, failing, fails)
        with pytest.raises(OSError, match="No space"):
            write_durably(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"]
    assert path.read_bytes() == b"old"
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"


def test_nobody_says_it_again() -> None:
    said = [
        path.relative_to(PRODUCT).as_posix()
        for path in PRODUCT.rglob("*.py")
        if "O_RDONLY)" in path.read_text() and "os.fsync(" in path.read_text()
    ]
    assert said == ["durability.py"]
