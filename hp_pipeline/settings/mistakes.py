"""What is wrong with a settings file, told so that it can be put right: place, found, allowed, nearest word."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST = 60


@dataclass(frozen=True)
class Mistake:
    """One mistake of the owner.

    Attributes:
        file: the settings file as it was named.
        line, column: where, from 1; None when it is a matter of the whole file.
        key: key path such as `sources[1].version`, empty at the top.
        found: what is there; never a secret.
        allowed: what would be right.
        nearest: what was probably meant, None when nothing is near.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    found: str
    allowed: str
    nearest: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        where = f"{place} {self.key}" if self.key else place
        hint = f". Did you mean {self.nearest!r}?" if self.nearest else ""
        label = "needed" if self.found == "nothing" else "allowed"
        return f"{where}: found {self.found}, {label}: {self.allowed}{hint}"


class SettingsError(ValueError):
    """A settings file that cannot be used. `mistakes` has everything that is wrong with it."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__(format_mistakes(self.mistakes))


def format_mistakes(mistakes: Iterable[Mistake]) -> str:
    """One line for each mistake, such as
    `hp.yaml:12:7 sources[0].kind: found 'influx', allowed: files, influxdb. Did you mean 'influxdb'?`"""
    return "\n".join(str(mistake) for mistake in mistakes)


def quoted(value: object) -> str:
    """A value for a message: on one line, not too long, and without the credentials of a URL."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    shown = re.sub(r"//[^/]*@", "//…@", value)
    return repr(shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…")


def quoted_key(key: object) -> str:
    """A key for a message. What is no plain word is not shown: `{token:abc}` is one key, with a secret in it."""
    word = str(key)
    return repr(word) if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", word) else "a key that is no plain word"
