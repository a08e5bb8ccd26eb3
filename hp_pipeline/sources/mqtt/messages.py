"""Messages → readings: payloads of every kind, by the rules of the settings, without a broker.

- A number (`21.5`, `1e3`, also within quotes) is a number; any other word, also `ON` or `true`, is a text; JSON objects
  and lists have a reading for each value. A word for "nothing" (`unavailable`, null) is no reading.
- The time of a reading is the message's own, where the rule names one; else when it arrived. A message whose own time
  cannot be read, lies ahead or comes from a clock that was never set is rejected: any other time would be made up.
- A *retained* message was sent at an unknown time before; what it says holds from now. It is not taken while its
  device is known to be away.
- What is not understood is rejected and counted, and costs no other message anything.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from hp_pipeline.settings.sources import MqttAvailability, MqttSource, MqttTopic
from hp_pipeline.sources.live import Polled, Reading
from hp_pipeline.vocabulary.json_paths import EVERYTHING, JsonPath, parse_json_path
from hp_pipeline.vocabulary.topics import TopicPattern, covers, filter_expression, parent_filter, sibling

log = logging.getLogger(__name__)

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""How far a message's own time may lie ahead of ours."""
BESIDE: Final = timedelta(seconds=1)
"""How long a message waits for the topic beside it that has its time."""
MOST_VALUES: Final = 1000
"""Values of one JSON message; more is no device's."""
LONGEST_TEXT: Final = 1000
LARGEST_PAYLOAD: Final = 1 << 20

ONLINE: Final = "online"
OFFLINE: Final = "offline"
"""What an availability topic's point says, whatever words the device has for it."""

_FIRST_YEAR: Final = 2000
_MOST_REMEMBERED: Final = 20_000
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNIX_UNITS: Final = {"unix_s": 1.0, "unix_ms": 1e-3, "unix_us": 1e-6, "unix_ns": 1e-9}

Value = float | str


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived.

    Attributes:
        topic: its topic.
        payload: its content.
        arrived: when it arrived here (with zone).
        qos: with which quality of service it was delivered; 1 has to be acknowledged.
        retained: the broker had kept it; it was sent at some time before.
        repeated: the broker delivers it again, because it has seen no acknowledgement.
        number: its packet identifier.
    """

    topic: str
    payload: bytes
    arrived: datetime
    qos: int = 0
    retained: bool = False
    repeated: bool = False
    number: int = 0


class _RejectedError(Exception):
    """This message, or this value, is not taken; the text says why, without what was found."""


class _NotFinite:
    """What JSON's NaN and Infinity are read as."""


@dataclass
class _Content:
    """What a payload says: values by path, and the document for the message's own time."""

    values: list[tuple[str, Value]]
    document: Any = None


class _Rule:
    """One entry of the settings, ready to be used."""

    def __init__(self, settings: MqttTopic) -> None:
        self.settings = settings
        self.pattern = TopicPattern(settings.topic, settings.pattern, settings.point)
        self._paths = [EVERYTHING] if settings.values is None else [parse_json_path(path) for path in settings.values]
        self._time: JsonPath | None = parse_json_path(settings.time) if settings.time else None
        self._zone = ZoneInfo(settings.time_zone)
        self._missing = frozenset(settings.missing)
        self.filters = [settings.topic]
        if settings.time_topic is not None:
            # First, so that the times of retained messages are known before the messages come.
            self.filters.insert(0, sibling(settings.topic, settings.time_topic))
        self._times = filter_expression(self.filters[0]) if settings.time_topic is not None else None

    def has_times(self, topic: str) -> bool:
        """Whether this is a topic that has the times of others of this rule."""
        return (
            self._times is not None
            and topic.rpartition("/")[2] == self.settings.time_topic
            and self._times.fullmatch(topic) is not None
        )

    def beside(self, topic: str) -> str | None:
        """The topic that has this one's time."""
        return None if self.settings.time_topic is None else sibling(topic, self.settings.time_topic)

    def content(self, payload: bytes, reject: Callable[[str], None]) -> _Content:
        """What a payload says.

        Raises:
            _RejectedError: nothing of it can be used.
        """
        text = _text(payload)
        kind = self.settings.payload
        if kind == "text":
            return _Content(list(self._scalar("", text, numbers=False)))
        if kind == "json" or (kind == "auto" and text[:1] in ("{", "[", '"')):
            document = _json(text)
            if isinstance(document, dict | list):
                return _Content(list(self._values(document, reject)), document)
            if kind == "json":
                raise _RejectedError("no JSON object")
            return _Content(list(self._json_scalar("", document)))
        values = list(self._scalar("", text))
        if kind == "number" and values and isinstance(values[0][1], str):
            raise _RejectedError("not a number")
        return _Content(values)

    def _values(self, document: Any, reject: Callable[[str], None]) -> Iterator[tuple[str, Value]]:
        found: dict[str, Any] = {}
        for path in self._paths:
            for name, value in path.find(document):
                if isinstance(value, dict | list):
                    if not path.is_wild:
                        reject(f"{name} is no single value")
                elif len(found) >= MOST_VALUES:
                    raise _RejectedError(f"more than {MOST_VALUES} values")
                else:
                    found.setdefault(name, value)
        own_time = None if self._time is None else {name for name, _ in self._time.find(document)}
        for name, value in found.items():
            if own_time is not None and name in own_time:
                continue
            try:
                if _CONTROL.search(name) or not _is_unicode(name):
                    raise _RejectedError("a key with signs that cannot be shown")
                yield from self._json_scalar(name, value)
            except _RejectedError as error:
                reject(str(error))

    def _json_scalar(self, path: str, value: Any) -> Iterator[tuple[str, Value]]:
        if value is None:
            return
        if isinstance(value, bool):
            yield path, "true" if value else "false"
        elif isinstance(value, int | float):
            try:
                yield path, _finite(float(value))
            except OverflowError:
                raise _RejectedError("not a finite number") from None
        elif isinstance(value, _NotFinite):
            raise _RejectedError("not a finite number")
        else:
            yield from self._scalar(path, str(value).strip())

    def _scalar(self, path: str, text: str, *, numbers: bool = True) -> Iterator[tuple[str, Value]]:
        if text in self._missing:
            return
        if numbers and _NUMBER.fullmatch(text):
            yield path, _finite(float(text))
        elif numbers and _NO_NUMBER.fullmatch(text):
            raise _RejectedError("not a finite number")
        elif not text:
            raise _RejectedError("an empty message")
        elif len(text) > LONGEST_TEXT:
            raise _RejectedError(f"a text of more than {LONGEST_TEXT} signs")
        elif _CONTROL.search(text) or not _is_unicode(text):
            raise _RejectedError("signs that cannot be shown")
        else:
            yield path, text

    def own_time(self, content: _Content, arrived: datetime) -> datetime | None:
        """The time that the message itself says; None when it says none.

        Raises:
            _RejectedError: it says one that cannot be believed.
        """
        if self._time is None or content.document is None:
            return None
        found = [value for _, value in self._time.find(content.document) if value is not None]
        return self.time(found[0], arrived) if found else None

    def time(self, value: Any, arrived: datetime) -> datetime:
        """A time as the rule's format says it.

        Raises:
            _RejectedError: it cannot be read, or not be believed.
        """
        try:
            time = self._read_time(value, arrived)
        except (ValueError, OverflowError, OSError, TypeError):
            raise _RejectedError(f"a time that is not {self.settings.time_format}") from None
        if time.year < _FIRST_YEAR:
            raise _RejectedError("the time of a clock that was never set")
        if time > arrived + FUTURE_TOLERANCE:
            raise _RejectedError("a time that lies ahead; is time_zone right, and the device's clock?")
        return time

    def _read_time(self, value: Any, arrived: datetime) -> datetime:
        form = self.settings.time_format
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError
        text = str(value).strip()
        if form in _UNIX_UNITS or (form == "auto" and _NUMBER.fullmatch(text)):
            number = float(text)
            return datetime.fromtimestamp(number * (_UNIX_UNITS[form] if form != "auto" else _unit_of(number)), UTC)
        time = datetime.fromisoformat(text) if form in ("auto", "iso") else datetime.strptime(text, form)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
        # An hour that the clock shows twice is the one that is nearer to now.
        both = [time.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return min(both, key=lambda candidate: abs(candidate - arrived))


def _unit_of(number: float) -> float:
    """Seconds per unit of a unix time, by its size: every unit has its own range between 1973 and 5138."""
    size = abs(number)
    return 1.0 if size < 1e11 else 1e-3 if size < 1e14 else 1e-6 if size < 1e17 else 1e-9


def _text(payload: bytes) -> str:
    if len(payload) > LARGEST_PAYLOAD:
        raise _RejectedError("more than 1 MiB")
    try:
        return payload.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise _RejectedError("no UTF-8 text") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: _NotFinite())
    except (ValueError, RecursionError):
        raise _RejectedError("broken JSON") from None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise _RejectedError("not a finite number")
    return number


def _is_unicode(text: str) -> bool:
    """Whether it can be stored: JSON can name halves of signs."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


class _Device:
    """A device that says whether it is there."""

    def __init__(self, settings: MqttAvailability) -> None:
        self.words = {settings.online: True, settings.offline: False}
        self.covers = [filter_expression(text) for text in settings.covers or (parent_filter(settings.topic),)]


@dataclass
class _Told:
    """A value on its way to a reading."""

    point: str
    value: Value
    arrived: datetime
    own_time: datetime | None


@dataclass
class MessageReader:
    """Makes readings of messages, by the rules of a source; remembers which devices are away.

    Attributes:
        settings: the source.
        rejected: how often what was not taken, by reason.
        available: by availability topic whether that device is there, as far as it was said.
    """

    settings: MqttSource
    rejected: Counter[str] = field(default_factory=Counter)
    available: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rules = [_Rule(entry) for entry in self.settings.topics]
        self._devices = {entry.topic: _Device(entry) for entry in self.settings.availability}
        self._retained_times: dict[str, datetime] = {}
        self._said: set[tuple[str, str]] = set()
        self._one_clock = sum(entry.time is not None for entry in self.settings.topics) == 1

    def filters(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """What to subscribe to, with the quality of service: availability first, then everything else."""
        first = [(topic, 1) for topic in self._devices]
        then: dict[str, int] = {}
        for rule in self._rules:
            for text in rule.filters:
                then[text] = max(then.get(text, 0), rule.settings.qos)
        # Brokers may deliver a message once for each subscription that fits: none is made within another one.
        kept = [
            (text, qos)
            for text, qos in then.items()
            if text not in self._devices
            and not any(other != text and qos <= its and covers(other, text) for other, its in then.items())
        ]
        return first, kept

    def ready(self, messages: Sequence[Message], now: datetime) -> int:
        """How many of the messages, from the first on, can be read: one whose time comes in the topic beside it
        waits for that, but not for long, and all after it wait with it, so that the order stays."""
        if not any(rule.settings.time_topic for rule in self._rules):
            return len(messages)
        told = {
            message.topic: index
            for index, message in enumerate(messages)
            if self._is_time(message.topic) and not message.retained
        }
        for index, message in enumerate(messages):
            beside = None if message.retained else self._beside(message.topic)
            if beside is not None and told.get(beside, -1) < index and timedelta() <= now - message.arrived < BESIDE:
                return index
        return len(messages)

    def read(self, messages: Iterable[Message], now: datetime, *, clocks: bool = True) -> Polled:
        """Readings of messages, in the order of their arrival; `now` is when they are handed over.

        Several readings of one point that have only their arrival keep their order and never share a time.

        Args:
            messages: the messages.
            now: becomes the time of readings that have none of their own and are the newest of their point.
            clocks: whether the messages' own times are those of devices' clocks now (not of messages that waited).
        """
        told: list[_Told] = []
        waiting: dict[str, tuple[Message, _Rule]] = {}
        clock: timedelta | None = None
        for message in messages:
            if message.topic in self._devices:
                told += self._availability(message)
                continue
            rule, times_for = self._rule_of(message.topic)
            if times_for is not None:
                own = self._own_time_beside(message, times_for)
                for topic, (earlier, its_rule) in list(waiting.items()):
                    if its_rule.beside(topic) == message.topic:
                        del waiting[topic]
                        told += self._told(earlier, its_rule, own)
                continue
            if rule is None:
                continue  # a subscription of former settings: the broker keeps those of a session
            if message.retained and not self._takes_retained(message, rule):
                continue
            beside = rule.beside(message.topic)
            if beside is None:
                found = self._told(message, rule, None)
                told += found
                if found and found[0].own_time is not None and not message.retained and not message.repeated:
                    clock = found[0].own_time - message.arrived
            elif message.retained:
                told += self._told(message, rule, self._retained_times.pop(beside, None))
            else:
                if message.topic in waiting:
                    told += self._told(*waiting.pop(message.topic), None)
                waiting[message.topic] = (message, rule)
        for message, rule in waiting.values():
            told += self._told(message, rule, None)
        told.sort(key=lambda item: item.arrived)
        return Polled(
            readings=self._timed(told, now),
            device_time=now + clock if clock is not None and clocks and self._one_clock else None,
        )

    def reject(self, reason: str, topic: str) -> None:
        """Count what was not taken, and say so once."""
        self.rejected[reason] += 1
        if (reason, topic) not in self._said and len(self._said) < _MOST_REMEMBERED:
            self._said.add((reason, topic))
            log.warning("%s: a message of %s is not taken: %s", self.settings.id, topic, reason)

    def _rule_of(self, topic: str) -> tuple[_Rule | None, _Rule | None]:
        """The rule that reads a topic, and the rule for whose topics it has the times."""
        for rule in self._rules:
            if rule.has_times(topic):
                return None, rule
            if rule.pattern.groups(topic) is not None:
                return rule, None
        return None, None

    def _is_time(self, topic: str) -> bool:
        return self._rule_of(topic)[1] is not None

    def _beside(self, topic: str) -> str | None:
        if topic in self._devices:
            return None
        rule, _ = self._rule_of(topic)
        return None if rule is None else rule.beside(topic)

    def _own_time_beside(self, message: Message, rule: _Rule) -> datetime | _RejectedError | None:
        """The time that a topic beside others says."""
        try:
            text = _text(message.payload)
            time = rule.time(text.strip('"'), message.arrived) if text else None
        except _RejectedError as error:
            self.reject(str(error), message.topic)
            return error
        if time is not None and message.retained and len(self._retained_times) < _MOST_REMEMBERED:
            self._retained_times[message.topic] = time
        return time

    def _told(self, message: Message, rule: _Rule, own: datetime | _RejectedError | None) -> list[_Told]:
        groups = rule.pattern.groups(message.topic)
        if groups is None or isinstance(own, _RejectedError):
            return []
        try:
            if _CONTROL.search(message.topic):
                raise _RejectedError("a topic with signs that cannot be shown")
            content = rule.content(message.payload, partial(self.reject, topic=message.topic))
            own = own or rule.own_time(content, message.arrived)
        except _RejectedError as error:
            self.reject(str(error), message.topic)
            return []
        named = [(rule.pattern.point_of(groups, path), value) for path, value in content.values]
        if any(not point.strip() for point, _ in named):
            self.reject("`point` makes no name of this topic", message.topic)
        return [_Told(point, value, message.arrived, own) for point, value in named if point.strip()]

    def _availability(self, message: Message) -> list[_Told]:
        try:
            word = _text(message.payload)
            there = self._devices[message.topic].words.get(word)
            if there is None:
                if not word:
                    return []
                raise _RejectedError("neither the word for online nor that for offline")
        except _RejectedError as error:
            self.reject(str(error), message.topic)
            return []
        if self.available.get(message.topic) is not there:
            log.info("%s: %s says %s", self.settings.id, message.topic, ONLINE if there else OFFLINE)
        self.available[message.topic] = there
        return [_Told(message.topic, ONLINE if there else OFFLINE, message.arrived, None)]

    def _takes_retained(self, message: Message, rule: _Rule) -> bool:
        if not rule.settings.retained:
            return False
        for topic, device in self._devices.items():
            if self.available.get(topic) is False and any(cover.fullmatch(message.topic) for cover in device.covers):
                self.reject("kept by the broker for a device that is away", message.topic)
                return False
        return True

    def _timed(self, told: Sequence[_Told], now: datetime) -> list[Reading]:
        """Readings, of which the newest of a point has the time of the handing over, when that is soon enough."""
        newest = {item.point: index for index, item in enumerate(told) if item.own_time is None}
        soon = self.settings.gather + 2 * BESIDE
        last: dict[str, datetime] = {}
        readings = []
        for index, item in enumerate(told):
            reading = Reading(item.point, time=item.own_time)
            if item.own_time is None and (newest[item.point] != index or not timedelta() <= now - item.arrived <= soon):
                step = last.get(item.point)
                time = item.arrived if step is None else max(item.arrived, step + timedelta(microseconds=1))
                last[item.point] = time
                reading = replace(reading, time=time)
            if isinstance(item.value, str):
                readings.append(replace(reading, text=item.value))
            else:
                readings.append(replace(reading, value=item.value))
        return readings
