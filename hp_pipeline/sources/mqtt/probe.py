"""What the devices at a broker publish, and which shipped profile reads it: for the owner who connects one.

Only listens, for some seconds, as a client of its own: the session of the collector, with what waits in it, is not
touched. Topics of devices that a shipped profile is for are recognised; what such a profile finds is tried with the
very code that reads messages later.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from hp_pipeline.settings.sources import MqttAvailability, MqttSource, MqttTopic
from hp_pipeline.sources.mqtt.connection import Connection
from hp_pipeline.sources.mqtt.messages import Message, MessageReader
from hp_pipeline.sources.proposal import FoundSignal, lines_for_settings, signal_lines, signals_found
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.topics import filter_expression

MOST_MESSAGES: Final = 50_000
"""Enough to know what a broker has; then listening ends early."""
_SHOWN = 40
_LONGEST_SAMPLE = 60
_SECRET = re.compile(r"passw|secret|token|api_?key|credential", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class ProbedTopic:
    """A topic that something was published in.

    Attributes:
        topic: the topic.
        messages: how many.
        retained: whether the broker had kept the last one.
        sample: begin of the newest payload; what may be a secret is not shown.
        readings: how many values it gives; 0: nothing that is a reading.
    """

    topic: str
    messages: int
    retained: bool
    sample: str
    readings: int


@dataclass(frozen=True)
class ProbedFamily:
    """Topics of devices that a shipped profile is for.

    Attributes:
        profile: the profile.
        topics, availability: entries for the settings.
        signals: what the profile finds.
        missing: signals of it that were not told meanwhile.
    """

    profile: str
    topics: tuple[MqttTopic, ...]
    availability: tuple[MqttAvailability, ...]
    signals: tuple[FoundSignal, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class MqttProbe:
    """What was heard.

    Attributes:
        settings: the connection.
        listened: for how long.
        topics: every topic, by name.
        refused: filters that the broker does not let this user read.
        families: devices that were recognised, those with the most signals first.
        unread: topics that no proposed entry reads.
    """

    settings: MqttSource
    listened: timedelta
    topics: tuple[ProbedTopic, ...]
    refused: tuple[str, ...]
    families: tuple[ProbedFamily, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class _Recogniser:
    """How topics of a profile look: `base` is the part before."""

    profile: str
    sign: re.Pattern[str]
    topics: tuple[dict[str, Any], ...]
    availability: tuple[str, str, str] | None = None


_RECOGNISERS: Final = (
    _Recogniser(
        "heishamon",
        re.compile(r"(?P<base>.+)/main/(?:Main_Outlet_Temp|Main_Inlet_Temp|Compressor_Freq|Pump_Flow)"),
        ({"topic": "{base}/main/+"},),
        ("{base}/LWT", "Online", "Offline"),
    ),
    _Recogniser(
        "espaltherma_mqtt",
        re.compile(r"(?P<base>.+)/ATTR"),
        ({"topic": "{base}/ATTR"},),
        ("{base}/LWT", "Online", "Offline"),
    ),
    _Recogniser(
        "solar_heating_v3",
        re.compile(r"(?P<base>.+)/sensor/solar_heating_[a-z0-9_]+/state|solar_heating_v3/status"),
        (
            {"topic": "{base}/+/+/state"},
            {
                "topic": "solar_heating_v3/status",
                "time": "timestamp",
                "values": ("temperatures.*", "system_state.primary_pump", "system_state.cartridge_heater"),
            },
        ),
    ),
    _Recogniser(
        "home_assistant_statestream",
        re.compile(r"(?P<base>.+)/sensor/(?!solar_heating_)[a-z0-9_]+/state"),
        (
            {"topic": "{base}/sensor/althermasensors/#"},
            {"topic": "{base}/+/+/state", "point": "{1}.{2}", "time_topic": "last_updated"},
        ),
    ),
)


async def probe(
    settings: MqttSource, *, listen: timedelta, wanted: Sequence[str] = ("#",), directory: Path | None = None
) -> MqttProbe:
    """Listen to a broker for a while.

    Args:
        settings: the connection; its topics do not matter.
        listen: for how long.
        wanted: filters of topics.
        directory: the folder of the settings file, for certificates.

    Raises:
        PollError: the broker cannot be reached, does not let us in or has gone.
    """
    guest = settings.model_copy(
        update={"client_id": f"hp_pipeline_probe_{secrets.token_hex(4)}", "session_expiry": timedelta(0)}
    )
    connection = Connection(guest, directory)
    heard: list[Message] = []
    began = time.monotonic()
    try:
        await connection.open()
        refused = await connection.subscribe([(one, 0) for one in wanted])
        ends = time.monotonic() + listen.total_seconds()
        while (left := ends - time.monotonic()) > 0 and len(heard) < MOST_MESSAGES:
            heard += connection.take(len(connection.peek()))
            if connection.lost is not None:
                raise connection.lost
            await connection.wait(left)
        heard += connection.take(len(connection.peek()))
    finally:
        connection.close()
    return describe(settings, heard, timedelta(seconds=time.monotonic() - began), refused)


def describe(
    settings: MqttSource, heard: Sequence[Message], listened: timedelta, refused: Sequence[str] = ()
) -> MqttProbe:
    """What the messages say.

    Args:
        settings: the connection that they came over.
        heard: the messages, the oldest first.
        listened: for how long was listened.
        refused: filters that could not be read.
    """
    newest = {message.topic: message for message in heard}
    counts: dict[str, int] = {}
    for message in heard:
        counts[message.topic] = counts.get(message.topic, 0) + 1
    topics = tuple(_topic(newest[name], counts[name]) for name in sorted(newest))
    families = sorted(_families(settings, newest), key=lambda family: -len(family.signals))
    read = [entry for family in families for entry in family.topics]
    covered = [filter_expression(entry.topic) for entry in read]
    aside = {entry.topic for family in families for entry in family.availability}
    beside = {entry.time_topic for entry in read if entry.time_topic is not None}
    unread = tuple(
        one.topic
        for one in topics
        if one.readings
        and one.topic not in aside
        and one.topic.rpartition("/")[2] not in beside
        and not any(expression.fullmatch(one.topic) for expression in covered)
    )
    return MqttProbe(settings, listened, topics, tuple(refused), tuple(families), unread)


def _topic(message: Message, messages: int) -> ProbedTopic:
    text = _CONTROL.sub(" ", message.payload.decode("utf-8", errors="replace"))
    if _SECRET.search(message.topic) or _SECRET.search(text):
        text = "(not shown: it may be a secret)"
    elif len(text) > _LONGEST_SAMPLE:
        text = f"{text[:_LONGEST_SAMPLE]} …"
    everything = [MqttTopic(topic="#")]
    return ProbedTopic(message.topic, messages, message.retained, text, len(_values([message], everything)))


def _values(
    messages: Iterable[Message], topics: Sequence[MqttTopic], availability: Sequence[MqttAvailability] = ()
) -> dict[str, float | str]:
    """What messages say by these entries, by point. Whether a device is away does not matter here."""
    there = [entry.model_copy(update={"covers": ("unused",)}) for entry in availability]
    settings = MqttSource(id="probe", host="localhost", topics=tuple(topics), availability=tuple(there))
    reader = _QuietReader(settings)
    polled = reader.read(sorted(messages, key=lambda message: message.arrived), datetime.now(UTC))
    told = {one.point: one.text if one.value is None else one.value for one in polled.readings}
    return {point: value for point, value in told.items() if value is not None}


class _QuietReader(MessageReader):
    """What is rejected is no fault here: topics of anything were asked for."""

    def reject(self, reason: str, topic: str) -> None:
        """Only count it."""
        self.rejected[reason] += 1


def _families(settings: MqttSource, newest: dict[str, Message]) -> Iterator[ProbedFamily]:
    for recogniser in _RECOGNISERS:
        matches = [match for topic in newest if (match := recogniser.sign.fullmatch(topic))]
        bases = sorted({match["base"] for match in matches if match["base"]})
        if not matches:
            continue
        entries = list(_entries(recogniser, bases, newest))
        availability = tuple(
            MqttAvailability(topic=topic.format(base=base), online=online, offline=offline)
            for base in bases
            if recogniser.availability is not None
            for topic, online, offline in [recogniser.availability]
            if topic.format(base=base) in newest
        )
        values = _values(newest.values(), entries, availability)
        signals, missing = signals_found(load_profile(recogniser.profile), values)
        if not signals:
            continue
        yield ProbedFamily(recogniser.profile, tuple(entries), availability, signals, missing)


def _entries(recogniser: _Recogniser, bases: Sequence[str], newest: dict[str, Message]) -> Iterator[MqttTopic]:
    """Entries for topics that there are; times beside topics only where they are published."""
    for template in recogniser.topics:
        for base in bases if "{base}" in template["topic"] else [""]:
            topic = template["topic"].format(base=base)
            expression = filter_expression(topic)
            ours = [name for name in newest if expression.fullmatch(name)]
            keys = {**template, "topic": topic}
            beside = keys.get("time_topic")
            if beside is not None and not any(f"{name.rpartition('/')[0]}/{beside}" in newest for name in ours):
                del keys["time_topic"]
            if ours:
                yield MqttTopic(**keys)


def format_probe(found: MqttProbe, *, everything: bool = False, password_env: str = "MQTT_PASSWORD") -> str:
    """The report as text for a terminal, with the lines for hp.yaml.

    Args:
        found: what was heard.
        password_env: the environment variable that has the password.
        everything: list every topic, however many there are.
    """
    settings = found.settings
    port = settings.port or (8883 if settings.tls else 1883)
    count = sum(one.messages for one in found.topics)
    seconds = found.listened.total_seconds()
    lines = [
        f"MQTT broker at {settings.host}:{port}",
        f"  in {seconds:.0f} s came {count} messages in {len(found.topics)} topics"
        + (":" if found.topics else ". Are the devices on, and do they publish here? Try a longer --listen"),
    ]
    shown = found.topics if everything else found.topics[:_SHOWN]
    width = max((len(one.topic) for one in shown), default=0)
    lines += [
        f"    {one.topic:<{width}}  {one.sample}{'' if one.readings else '  (no reading)'}"
        f"{'  (retained)' if one.retained else ''}"
        for one in shown
    ]
    if len(shown) < len(found.topics):
        lines.append(f"    … and {len(found.topics) - len(shown)} more: --all lists them")
    lines += [f"  the broker does not let this user read {one}" for one in found.refused]
    for family in found.families:
        lines += signal_lines(family.profile, family.signals, family.missing)
    if not found.topics:
        return "\n".join([*lines, ""])
    lines += _proposal(found, port, password_env)
    return "\n".join([*lines, ""])


def _proposal(found: MqttProbe, port: int, password_env: str) -> list[str]:
    settings = found.settings
    source = [f"id: {settings.id}", "kind: mqtt", f"host: {settings.host}"]
    source += [f"port: {port}"] if settings.port is not None else []
    source += [f'version: "{settings.version}"'] if settings.version != "5" else []
    source += [f"username: {settings.username}"] if settings.username is not None else []
    source += [f"password: ${{{password_env}}}"] if settings.password is not None else []
    source += ["tls: true"] if settings.tls else []
    source += [f"ca_file: {settings.ca_file}"] if settings.ca_file is not None else []
    best = found.families[:1]
    entries = [_yaml(entry) for family in best for entry in family.topics]
    others = [_yaml(entry) for family in found.families[1:] for entry in family.topics]
    generic = [f'{{topic: "{_quoted(one)}"}}' for one in _bases(found.unread)]
    if not entries:
        entries, generic = generic or ['{topic: "#"}'], []
    source += ["topics:", *(f"  - {entry}" for entry in entries)]
    availability = [entry for family in best for entry in family.availability]
    if availability:
        source.append("availability:")
        source += [
            f"  - {{topic: {entry.topic}, online: {entry.online}, offline: {entry.offline}}}" for entry in availability
        ]
    profile = best[0].profile if best else "my_profile.yaml"
    lines = lines_for_settings(source, [(settings.id, profile)])
    if others:
        lines += ["", "Other devices that were recognised; for each a source with these topics:"]
        lines += [f"  {entry}" for entry in others]
    if not best:
        lines += [
            "",
            "No shipped profile fits: write my_profile.yaml after one of hp_pipeline/vocabulary/profiles, with topics",
            "as points. The topics above read all that came; narrower ones are better.",
        ]
    elif generic:
        lines += ["", "Besides there are readings that no shipped profile is for; to keep them, add to `topics:`"]
        lines += [f"  - {entry}" for entry in generic]
    return lines


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _yaml(entry: MqttTopic) -> str:
    """One entry on one line, with the keys that are not the defaults."""
    parts = [f'topic: "{_quoted(entry.topic)}"']
    if entry.point != MqttTopic.model_fields["point"].default:
        parts.append(f'point: "{_quoted(entry.point)}"')
    if entry.values is not None:
        paths = ", ".join(f'"{_quoted(one)}"' for one in entry.values)
        parts.append(f"values: [{paths}]")
    parts += [f"{key}: {getattr(entry, key)}" for key in ("time", "time_topic") if getattr(entry, key) is not None]
    return f"{{{', '.join(parts)}}}"


def _bases(topics: Iterable[str]) -> list[str]:
    """Filters that read topics nobody else reads: by their first level."""
    return sorted({f"{topic.partition('/')[0]}/#" if "/" in topic else topic for topic in topics})
