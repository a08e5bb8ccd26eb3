"""A settings file in a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hp_pipeline_tests.settings.house import HOUSE


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes hp.yaml: the house of `house.py` with the given texts replaced, each of which must be there."""

    def write(*replacements: tuple[str, str], text: str = HOUSE) -> Path:
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / "hp.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
