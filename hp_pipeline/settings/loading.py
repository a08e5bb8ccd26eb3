"""From the settings file to `Settings`, or to everything that is wrong with it at once."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hp_pipeline.settings.document import Document, read_document
from hp_pipeline.settings.mistakes import Mistake, SettingsError, quoted, quoted_key
from hp_pipeline.settings.model import KeyPath, format_key_path, mapping, mappings, nearest_word
from hp_pipeline.settings.settings import Settings, meters_of_one_energy, settings_json_schema
from hp_pipeline.vocabulary.boundaries import MAIN_METERS
from hp_pipeline.vocabulary.profiles import ProfileError, load_profile, shipped_profiles
from hp_pipeline.vocabulary.signals import signals

_ALLOWED = {
    "string_type": "a text (a number or true in quotes)",
    "bool_type": "true, false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "invalid_key": "a text as a key (a number in quotes)",
}
"""What is allowed, by the type of pydantic's error, where the error itself does not say it."""

_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false", "1": "true", "0": "false"}
_OF_KEYS = ("tuple_type", "list_type", "dict_type", "model_type", "model_attributes_type")
_SECRET_FOUND = "a secret in plain text"
_METERED_UNITS = ("W", "kWh")


def settings_path(option: str | Path | None = None) -> Path | None:
    """The settings file: `option`, else the environment's HP_SETTINGS, else ./hp.yaml when it exists.

    None when there is none: then there are no settings, which is no mistake. A named file need not exist.
    """
    named = option or os.environ.get("HP_SETTINGS")
    if named:
        return Path(named)
    return Path("hp.yaml") if Path("hp.yaml").exists() else None


def data_dir(option: str | Path | None = None) -> Path:
    """The data folder: `option`, else the environment's HP_DATA, else ./data. It need not exist."""
    return Path(option or os.environ.get("HP_DATA") or "data")


def load_settings(path: str | Path, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in the file at `path`, with `${NAME}` from `environment` (the process's own by default).

    Raises `SettingsError` with every mistake in the file.
    """
    settings, mistakes = _read(Path(path), os.environ if environment is None else environment)
    if settings is None:
        # Nothing chained: a traceback would show the values that the cause was about.
        raise SettingsError(mistakes)
    return settings


def check_settings(path: str | Path, environment: Mapping[str, str] | None = None) -> list[Mistake]:
    """Every mistake in the settings file at `path`, by line; empty when it can be used."""
    return _read(Path(path), os.environ if environment is None else environment)[1]


def _read(path: Path, environment: Mapping[str, str]) -> tuple[Settings | None, list[Mistake]]:
    document = read_document(path, environment)
    settings = None
    if document.values is not None:
        written = document.values
        try:
            settings = Settings.model_validate(
                written, context={"directory": path.parent}, by_alias=True, by_name=False
            )
        except ValidationError as error:
            # Inconsistencies are looked for below, also when single values are wrong.
            for details in error.errors(include_url=False):
                if details["type"] != "inconsistent":
                    _add_invalid(document, details)
        for item in Settings.inconsistencies(written):
            document.add(
                document.position(item.key_path, item.at_key),
                item.key_path,
                item.found or _found(document, item.key_path),
                item.allowed,
                item.nearest,
            )
        _add_unknown_words(document, path.parent)
        _add_unlike_meters(document, path.parent)
    mistakes = _in_order(document)
    return (None if mistakes else settings), mistakes


def _in_order(document: Document) -> list[Mistake]:
    """The mistakes by line, one for each place and key, without the values of environment variables."""
    first: dict[tuple[str, int | None, int | None], Mistake] = {}
    for mistake in document.mistakes:
        first.setdefault((mistake.key, mistake.line, mistake.column), mistake)
    ordered = sorted(first.values(), key=lambda mistake: (mistake.line or 0, mistake.column or 0))
    return [
        replace(
            mistake,
            found=document.without_values(mistake.found),
            allowed=document.without_values(mistake.allowed),
            nearest=mistake.nearest and document.without_values(mistake.nearest),
        )
        for mistake in ordered
    ]


def _add_invalid(document: Document, details: ErrorDetails) -> None:
    """Adds what pydantic says about one value, in the words and at the place of the file."""
    path, place = _locate(details["loc"])
    context: dict[str, Any] = details.get("ctx", {})
    kind = details["type"]
    if kind == "too_short" and _found(document, path) != "nothing":
        return  # Only the entries that are right were counted; the others have mistakes of their own.
    if kind == "extra_forbidden":
        key = path[-1]
        known = list(place.parent.get("properties", {}))
        shown = quoted_key(key)
        nearest = nearest_word(str(key), known)
        document.add(
            document.position(path, at_key=True),
            path if shown == repr(key) else path[:-1],
            f"the unknown key {shown}" if shown == repr(key) else shown,
            ", ".join(known),
            nearest,
        )
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, str(place.node["discriminator"]["propertyName"]))
        kinds = sorted(place.node["discriminator"]["mapping"])
        written = document.written.get(path)
        nearest = nearest_word(written, kinds) if isinstance(written, str) else None
        document.add(document.position(path), path, _found(document, path), ", ".join(kinds), nearest)
    elif kind == "invalid_key":
        position = document.position(path, at_key=True)
        document.add(position, path[:-1], f"the key {quoted(path[-1])}", _ALLOWED[kind])
    elif kind == "missing":
        document.add(document.position(path, at_key=True), path, "nothing", place.description)
    else:
        written = document.written.get(path)
        allowed = context.get("allowed") or _ALLOWED.get(kind) or details["msg"]
        nearest = context.get("nearest") or None
        if kind == "literal_error":
            choices = place.node.get("enum", [place.node.get("const")])
            words = [choice for choice in choices if isinstance(choice, str)]
            allowed = ", ".join(word if str(word).isidentifier() else quoted(word) for word in choices)
            nearest = nearest_word(str(written), words)
            if not words and isinstance(written, str):
                allowed = f"{allowed} (a number, without quotes)"
        elif kind == "bool_type":
            nearest = _BOOLEANS.get(str(written).lower())
        elif kind == "too_short":
            allowed = f"at least one entry ({place.description})"
        if isinstance(written, str) and "${" in written:
            # It would be made from the variable's value.
            nearest = None
        found = _SECRET_FOUND if place.secret else context.get("found") or _found(document, path, kind)
        document.add(document.position(path), path, found, allowed, nearest)


def _found(document: Document, path: KeyPath, kind: str = "") -> str:
    """What is at `path`, for a message: a value as it is in the file, or its shape."""
    if path in document.written:
        written = document.written[path]
        # Where keys belong, a text is often several keys that a slip has made one: it may hold a secret.
        return "a text" if kind in _OF_KEYS and isinstance(written, str) else quoted(written)
    value: Any = document.values
    for part in path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return "nothing"
    if isinstance(value, (dict, list)):
        return ("keys with values" if isinstance(value, dict) else "a list") if value else "nothing"
    return quoted(value)


@dataclass(frozen=True)
class _Place:
    """What the schema says about a key path."""

    parent: Mapping[str, Any]
    node: Mapping[str, Any]
    description: str
    secret: bool


@cache
def _schema() -> Mapping[str, Any]:
    return settings_json_schema()


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node that a reference or an optional value stands for."""
    if options := [option for option in node.get("anyOf", ()) if option.get("type") != "null"]:
        return _resolved(options[0])
    if "$ref" in node:
        return _resolved(_schema()["$defs"][str(node["$ref"]).rpartition("/")[2]])
    return node


def _locate(location: tuple[int | str, ...]) -> tuple[KeyPath, _Place]:
    """The key path of pydantic's location, which also names the kinds it has chosen, and what is there."""
    path: KeyPath = ()
    parent = node = _resolved(_schema())
    description, secret = "a value", False
    for part in location:
        if part == "[key]":
            break
        if "discriminator" in node:
            node = _resolved({"$ref": node["discriminator"]["mapping"][part]})
            continue
        path = (*path, part)
        parent = node
        child = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        child = child or node.get("additionalProperties") or {}
        child = child if isinstance(child, Mapping) else {}
        description = child.get("description", description)
        node = _resolved(child)
        secret = secret or bool(node.get("writeOnly"))
    return path, _Place(parent, node, description, secret)


def _add_unknown_words(document: Document, directory: Path) -> None:
    """Adds profiles, signals and mappings that the vocabulary does not know."""
    written = document.values or {}
    for key in ("heat_pumps", "solar_systems"):
        for index, owner in mappings(written, key):
            for place, item in mappings(owner, "inputs"):
                _add_profile_mistakes(document, (key, index, "inputs", place), item, directory)
    metered = {name: signal for name, signal in signals().items() if signal.unit in _METERED_UNITS}
    for index, meter in mappings(written, "meters"):
        name = meter.get("signal")
        if not isinstance(name, str):
            continue
        told = _given_by_source(written, meter, directory)
        given = list(metered) if told is None else [found for found in told if found in metered]
        if name in given:
            continue
        path = ("meters", index, "signal")
        whose = "" if told is None else f" that the source {meter['source']} gives"
        document.add(
            document.position(path),
            path,
            _found(document, path),
            f"a signal of power or energy{whose}: {', '.join(given) or 'none'}",
            nearest_word(name, given),
        )


def _add_unlike_meters(document: Document, directory: Path) -> None:
    """Adds meters that measure a part of an energy each, of which some tell its power alone and others its counter."""
    written = document.values or {}
    for kind, meters in meters_of_one_energy(written):
        told: dict[frozenset[str], set[str]] = {}
        for meter in meters:
            given = _given_by_source(written, meter.written, directory)
            names = MAIN_METERS[kind] if given is None else given
            told.setdefault(frozenset(meter.includes), set()).update(names)
        if len(told) > 1 and not set.intersection({*MAIN_METERS[kind]}, *told.values()):
            path = ("meters", meters[-1].index, "source")
            document.add(
                document.position(path),
                path,
                _found(document, path),
                f"a source that gives {' or '.join(MAIN_METERS[kind])}, as the other meters of {kind} energy do "
                f"({'; '.join(meter.called for meter in meters[:-1])}): they are added",
            )


def _given_by_source(written: Mapping[str, Any], meter: Mapping[str, Any], directory: Path) -> list[str] | None:
    """The signals that a meter's source gives its heat pump; None where it names no source that is an input, or its
    profiles cannot be read: that is a mistake of its own."""
    given: dict[str, None] = {}
    is_read = False
    for _, pump in mappings(written, "heat_pumps"):
        for _, item in mappings(pump, "inputs"):
            whose = (pump.get("id"), item.get("source"))
            profile = item.get("profile")
            if None in whose or whose != (meter.get("heat_pump"), meter.get("source")) or not isinstance(profile, str):
                continue
            try:
                given |= dict.fromkeys(load_profile(profile, mapping(item, "signals"), directory).mappings)
            except (ProfileError, TypeError, ValueError):
                return None
            is_read = True
    return list(given) if is_read else None


def _add_profile_mistakes(document: Document, path: KeyPath, item: Mapping[str, Any], directory: Path) -> None:
    profile, overrides = item.get("profile"), mapping(item, "signals")
    if not isinstance(profile, str):
        return
    at_profile = (*path, "profile")
    try:
        load_profile(profile, None, directory)
    except ProfileError as error:
        is_file = profile.endswith((".yaml", ".yml"))
        place = f" at {format_key_path(error.key_path)}" if error.key_path else ""
        document.add(
            document.position(at_profile),
            at_profile,
            f"{_found(document, at_profile)}: {error.message}{place}" if is_file else _found(document, at_profile),
            _words(error.allowed) if is_file else f"{_words(shipped_profiles())} or the path of a YAML file",
            error.nearest if is_file else nearest_word(profile, shipped_profiles()),
        )
        _add_unknown_signals(document, (*path, "signals"), overrides)
        return
    # One signal at a time, so that a mistake in one does not hide those in others.
    for signal, override in overrides.items():
        if not isinstance(signal, str):
            continue
        below = (*path, "signals")
        try:
            load_profile(profile, {signal: override}, directory)
        except ProfileError as error:
            at = (*below, *(error.key_path or (signal,)))
            # The found word is the last key itself when that one is unknown.
            at_key = str(at[-1]) == error.found
            document.add(document.position(at, at_key), at, error.message, _words(error.allowed), error.nearest)
        except (TypeError, ValueError) as error:
            at = (*below, signal)
            document.add(
                document.position(at),
                at,
                f"a mapping that makes no sense ({error})",
                "a mapping as in the shipped profiles",
            )


def _add_unknown_signals(document: Document, path: KeyPath, overrides: Mapping[str, Any]) -> None:
    """What can be said about the owner's signals when there is no profile to merge them over."""
    for signal in overrides:
        if signal not in signals():
            at = (*path, signal)
            nearest = nearest_word(str(signal), signals())
            document.add(document.position(at, at_key=True), at, quoted_key(signal), ", ".join(signals()), nearest)


def _words(allowed: Iterable[str]) -> str:
    return ", ".join(allowed) or "a mapping as in the shipped profiles"
