"""What every part of the settings has in common: strictness, and the kinds of values that parts share.

The values are strict on purpose. A YAML file that says `true` where a number belongs, or `12` where a name
belongs, is a mistake that the owner wants to hear of, and not something to be guessed right.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

KeyPath = tuple[str | int, ...]


def format_key_path(path: KeyPath) -> str:
    """A key path as people write it: `('sources', 1, 'version')` is `sources[1].version`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`, or the only one that begins with it, letters' case aside.

    None when none is near.
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    if not near and len(word) > 2:
        near = [candidate for candidate in by_folded if candidate.startswith(word.casefold())]
    return by_folded[near[0]] if len(near) == 1 else None


@dataclass(frozen=True)
class Inconsistency:
    """Values that are right one by one and wrong together, at the key that has to be changed.

    `found` is None when the value as written says it best. `nearest` is the word that was probably meant.
    `at_key` points to the key rather than to its value: the key should not be there, or is missing.
    """

    key_path: KeyPath
    allowed: str
    found: str | None = None
    nearest: str | None = None
    at_key: bool = False

    def below(self, *path: str | int) -> "Inconsistency":
        """The same, seen from the part that holds this one at `path`."""
        return replace(self, key_path=(*path, *self.key_path))


class SettingsModel(BaseModel):
    """A part of the settings: frozen, without unknown keys, and silent about its values when it refuses."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Everything in `written` that contradicts something else in it.

        `written` holds the keys as in the settings file and may hold anything, as the values have possibly
        not been validated: what is unfit to be compared is passed over, since its own mistake is reported.
        """
        yield from ()

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, data: object) -> object:
        # `meters:` with nothing behind it is how people leave out a section in YAML.
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = [
            f"{format_key_path(item.key_path)}: "
            + (f"found {item.found}, " if item.found else "")
            + f"allowed: {item.allowed}"
            for item in self.inconsistencies(as_written(self))
        ]
        if found:
            raise PydanticCustomError("inconsistent", "{reasons}", {"reasons": "; ".join(found)})
        return self


def as_written(model: SettingsModel) -> dict[str, Any]:
    """The keys and values that a part, and the parts in it, were given, as the settings file names them."""

    def plain(value: object) -> object:
        if isinstance(value, SettingsModel):
            return as_written(value)
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    fields = type(model).model_fields
    given = ((fields[name].alias or name, getattr(model, name)) for name in sorted(model.model_fields_set))
    return {key: plain(value) for key, value in given if value is not None}


class EnvironmentText(str):
    """A text that is wholly the value of one environment variable: the only form that a secret may have."""

    __slots__ = ()


def _secret(value: object) -> object:
    if isinstance(value, SecretStr):
        return value
    if isinstance(value, EnvironmentText):
        return SecretStr(str(value))
    raise PydanticCustomError(
        "plain_secret",
        "found {found}, allowed: {allowed}",
        {
            "found": "a secret in plain text",
            "allowed": "${NAME} alone, with the secret in the environment variable NAME",
        },
    )


Secret = Annotated[
    SecretStr,
    BeforeValidator(_secret),
    WithJsonSchema({"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$", "writeOnly": True}),
]
"""A secret. Declare such a field with `exclude=True`, so that no dump of the settings has it."""

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


def _identifier(value: str) -> str:
    if _IDENTIFIER.fullmatch(value) and len(value) <= 60:
        return value
    ascii_only = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    suggestion = re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")[:60]
    raise PydanticCustomError(
        "identifier",
        "allowed: {allowed}",
        {
            "allowed": "a to z, 0 to 9 and _, a letter first, at most 60",
            "nearest": suggestion if _IDENTIFIER.fullmatch(suggestion) else "",
        },
    )


Identifier = Annotated[str, AfterValidator(_identifier)]
"""A name that tables, folders and asset keys carry: lower-case letters, digits and `_`, a letter first."""


def _filled(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "allowed: {allowed}", {"allowed": "a text that is not blank"})
    return value


Text = Annotated[str, AfterValidator(_filled)]
Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def within(least: float, most: float, unit: str = "") -> AfterValidator:
    """Refuses a number outside of `least` to `most` (both allowed); `unit` is for the message."""
    allowed = f"{least:g} to {most:g}{unit and ' ' + unit}"

    def check(value: float) -> float:
        if not least <= value <= most:
            raise PydanticCustomError("out_of_range", "allowed: {allowed}", {"allowed": allowed})
        return value

    return AfterValidator(check)


@cache
def _time_zones() -> frozenset[str]:
    import zoneinfo

    return frozenset(zoneinfo.available_timezones())


def _time_zone(value: str) -> str:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        cities = {zone.rpartition("/")[2].casefold(): zone for zone in sorted(_time_zones())}
        city = value.rpartition("/")[2].strip().replace(" ", "_").casefold()
        suggestion = cities.get(city) or nearest_word(value, sorted(_time_zones()))
        raise PydanticCustomError(
            "time_zone",
            "allowed: {allowed}",
            {"allowed": "a time zone such as Europe/Berlin or UTC", "nearest": suggestion or ""},
        ) from None
    return value


TimeZone = Annotated[str, AfterValidator(_time_zone)]
"""The name of a time zone in the IANA database, such as `Europe/Berlin`."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def _day(value: object) -> object:
    if type(value) is date:
        return value
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            pass
        else:
            # Before, no reading can be meant; a clock that starts in 1970 must not open 11 000 partitions.
            if day.year >= 2000:
                return day
    raise PydanticCustomError("day", "allowed: {allowed}", {"allowed": "a date as 2024-01-31, from 2000-01-01 on"})


Day = Annotated[date, BeforeValidator(_day)]


def read_moment(value: object) -> datetime | None:
    """The moment that an ISO 8601 text with an offset from UTC names, in UTC; or None."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None or moment.year < 2000 else moment.astimezone(UTC)


def _moment(value: object) -> object:
    moment = read_moment(value)
    if moment is None:
        allowed = "a moment as 2024-01-31T07:30:00+01:00 (with its offset from UTC, or Z), from 2000 on"
        raise PydanticCustomError("moment", "allowed: {allowed}", {"allowed": allowed})
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]


def read_clock(value: object) -> time | None:
    """The time of day that `HH:MM` names (00:00 to 23:59), or None."""
    if isinstance(value, time):
        return value
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    return time(int(match[1]), int(match[2])) if match else None


def _clock(value: object) -> object:
    clock = read_clock(value)
    if clock is None:
        padded = f"0{value}" if isinstance(value, str) else ""
        nearest = "00:00" if value == "24:00" else padded if read_clock(padded) else ""
        raise PydanticCustomError(
            "clock", "allowed: {allowed}", {"allowed": '"HH:MM", "00:00" to "23:59"', "nearest": nearest}
        )
    return clock


def _format_clock(value: time) -> str:
    return value.strftime("%H:%M")


ClockTime = Annotated[
    time,
    BeforeValidator(_clock),
    PlainSerializer(_format_clock, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$"}),
]
"""A time of day in the house's time zone, written `HH:MM`."""


def mappings(written: Mapping[str, Any], key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The entries of the list at `key` that are mappings, with their place in the list."""
    entries = written.get(key)
    if isinstance(entries, list):
        yield from ((index, entry) for index, entry in enumerate(entries) if isinstance(entry, Mapping))


def mapping(written: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping at `key`, empty when there is none."""
    entry = written.get(key)
    return entry if isinstance(entry, Mapping) else {}


def repeated(written: Mapping[str, Any], key: str, name: str) -> Iterator[Inconsistency]:
    """An inconsistency for each entry of the list at `key` whose `name` an earlier entry has already."""
    first: dict[object, int] = {}
    for index, entry in mappings(written, key):
        value = entry.get(name)
        if not isinstance(value, (str, int, date)):
            continue
        if str(value) in first:
            yield Inconsistency(
                (key, index, name), f"one that differs from {format_key_path((key, first[str(value)], name))}"
            )
        first.setdefault(str(value), index)
