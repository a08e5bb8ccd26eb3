"""Shelly energy meters of the second and later generations: status over HTTP RPC, and the records they keep.

Points are `<component>.<field>` as the meter calls them: `em:0.total_act_power` (W), `em:0.a_voltage` (V),
`emdata:0.total_act` (Wh, counts up), `em1:0.act_power`, `em1data:0.total_act_energy`, `switch:0.apower`,
`switch:0.aenergy.total`, `pm1:0.apower`. Besides:

* `<component>.errors`: text, `none` or what the meter complains of, phase by phase
* `device.mac`, `device.profile`, `device.firmware`: text; a counter means something only within one MAC and profile
* `event/counter`: text, told in the poll that finds it: a counter begins from nothing (`reset: …`) or a little behind
  (`rollback: …`), another meter answers (`swap: …`), or the meter's profile was changed (`profile: …`)
* `<component>.record.<field>`: what the meter itself recorded (`history`): means over a minute or five, at the begin
  of the interval; powers in W net of what was returned, `…_voltage` in V, `…_current` in A

Sources: shelly-api-docs.shelly.cloud/gen2 (EM, EMData, EM1Data, PM1, Switch, authentication). The digest login with
SHA-256 is httpx's, which is imported when the first request is made.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Never

from hp_pipeline.settings.sources import ShellySource
from hp_pipeline.sources.live import Outcome, Polled, PollError, Reading
from hp_pipeline.sources.proposal import clock_line, lines_for_settings, signal_lines, signals_found
from hp_pipeline.vocabulary.profiles import load_profile

if TYPE_CHECKING:
    import httpx

USER: Final = "admin"
"""The only user that these meters know."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""A longer answer is garbage; a day of records is about 1 MB."""
HISTORY_CHUNK: Final = timedelta(days=1)
"""How much is asked for at once: a meter sends about 55 records a second and gives up on weeks."""
HISTORY_TIMEOUT: Final = timedelta(seconds=60)
EARLIEST: Final = datetime(2015, 1, 1, tzinfo=UTC)
"""An earlier time is a clock that was not set."""
WAIT_WHEN_LIMITED: Final = timedelta(minutes=1)

_PHASE_KEYS: Final = (
    "total_act_energy", "fund_act_energy", "total_act_ret_energy", "fund_act_ret_energy", "lag_react_energy",
    "lead_react_energy", "max_act_power", "min_act_power", "max_aprt_power", "min_aprt_power", "max_voltage",
    "min_voltage", "avg_voltage", "max_current", "min_current", "avg_current",
)  # fmt: skip
EMDATA_KEYS: Final = (
    *(f"{phase}_{key}" for phase in "abc" for key in _PHASE_KEYS),
    "n_max_current", "n_min_current", "n_avg_current",
)  # fmt: skip
"""Columns of a three-phase meter's records, in their order, for answers that do not name them."""
_RECORDED: Final = ("avg_voltage", "avg_current", "max_act_power", "min_act_power")
_COMPONENT = re.compile(r"(?:em|em1|emdata|em1data|switch|pm1):[0-9]{1,3}", re.ASCII)
_FIELD = re.compile(r"[A-Za-z0-9_]{1,60}", re.ASCII)
_LEFT_OUT: Final = frozenset(("id", "by_minute", "minute_ts", "tF", "source", "user_calibrated_phase"))
_COUNTER = re.compile(
    r"(?:emdata:[0-9]+\.total_act(?:_ret)?|em1data:[0-9]+\.total_act(?:_ret)?_energy|.*\.(?:ret_)?aenergy\.total)",
    re.ASCII,
)
"""Counters that are watched for falling back; phases fall with their total."""
_SLACK_WH: Final = 0.05
"""A counter may be told that much lower than before, by rounding."""
_ROLLED_BACK: Final = 0.9
"""After a loss of power a counter goes on from the minute that was stored last; a reset begins from nothing."""


@dataclass(frozen=True, slots=True)
class Device:
    """Which meter it is. Counters of different MACs or profiles have nothing to do with each other."""

    mac: str
    profile: str = ""
    firmware: str = ""
    model: str = ""

    @property
    def identity(self) -> str:
        """All of it, for comparing."""
        return " ".join(part for part in (self.mac, self.profile, self.firmware) if part)


class ShellyMeter:
    """A meter that is polled and remembers; a `PolledSource` that `RemembersHistory`.

    Args:
        settings: the source.
        state: what was kept for it: the meter that answered last.
        keep: keeps a small thing (key, JSON) for it.
    """

    def __init__(
        self,
        settings: ShellySource,
        state: Mapping[str, Any] | None = None,
        keep: Callable[[str, Any], object] | None = None,
    ) -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._base = f"http://{host}:{settings.port}"
        self._where = f"the Shelly meter at {settings.host}:{settings.port}"
        self._password = settings.password
        self._timeout = settings.timeout.total_seconds()
        self._client: httpx.AsyncClient | None = None
        self._one_at_a_time = asyncio.Lock()
        self._keep = keep
        self._device: Device | None = None
        self._before = _kept_device(state)
        self._counters: dict[str, float] = {}
        self._uptime = 0.0

    async def poll(self) -> Polled:
        """Read the status once.

        Raises:
            PollError: timeout, refused, busy, broken, denied, limited, unsupported, error; nothing of it is kept.
        """
        async with self._one_at_a_time, self._limit(self._timeout):
            status = await self._rpc("Shelly.GetStatus")
            try:
                readings = readings_of_status(status)
                mac, clock = _mac_of(status), _clock_of(status)
            except ValueError as error:
                self._not_understood(str(error), error)
            if not readings:
                raise PollError(
                    Outcome.busy,
                    f"{self._where} tells no measurement",
                    "It is starting, or it is a device without a meter",
                    retry=True,
                )
            uptime = _uptime_of(status)
            if (
                self._device is None
                or uptime < self._uptime
                or (mac and mac != self._device.mac)
                or _profile_changed(self._device, status)
            ):
                self._device = await self._identify()
            self._uptime = uptime
        device = self._device
        events = self._compare(device, {reading.point: reading.value for reading in readings})
        about = {"mac": device.mac, "profile": device.profile, "firmware": device.firmware, "model": device.model}
        told = [Reading(f"device.{key}", text=value) for key, value in about.items() if value]
        return Polled([*readings, *told, *events], device_time=clock, identity=device.identity)

    async def history(self, start: datetime, stop: datetime) -> AsyncIterator[Polled]:
        """What the meter recorded of [start, stop), page by page, in the order of time.

        Powers are means over the record's period, at its begin. Gaps between the meter's blocks stay gaps.

        Raises:
            PollError: as `poll`; unsupported where the meter keeps no records.
        """
        device, recorded = await self.about()
        if not recorded:
            raise PollError(Outcome.unsupported, f"{self._where} keeps no records")
        for component, blocks in recorded.items():
            parts = [(max(start, block.start), min(stop, block.stop)) for block in blocks]
            for first, last in sorted((first, last) for first, last in parts if first < last):
                moment = first
                while moment < last:
                    until = min(moment + HISTORY_CHUNK, last)
                    async for readings in self._records(component, moment, until):
                        yield Polled(readings, identity=device.identity)
                    moment = until

    async def about(self) -> tuple[Device, dict[str, tuple[Block, ...]]]:
        """Which meter it is, and by component the stretches that it has records of; empty if it keeps none.

        Raises:
            PollError: as `poll`.
        """
        async with self._one_at_a_time, self._limit(HISTORY_TIMEOUT.total_seconds()):
            device = self._device = await self._identify()
            status = await self._rpc("Shelly.GetStatus")
            found: dict[str, tuple[Block, ...]] = {}
            for component in sorted(key for key in status if re.fullmatch(r"em1?data:[0-9]{1,3}", key)):
                answer = await self._rpc(f"{_RECORDS_OF[_kind(component)]}.GetRecords", id=_number(component), ts=0)
                try:
                    found[component] = tuple(blocks_of(answer))
                except ValueError as error:
                    self._not_understood(str(error), error)
        return device, found

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # -- what is asked for

    async def _identify(self) -> Device:
        """Which meter it is; this is told without a login."""
        told = await self._get("/shelly")
        mac = told.get("mac")
        if not isinstance(mac, str) or not mac:
            raise PollError(
                Outcome.unsupported,
                f"{self._where} does not say that it is a Shelly of generation 2 or later",
                "Check `host`; meters of the first generation speak another language",
            )
        return Device(mac.upper(), *(str(told.get(key) or "") for key in ("profile", "ver", "model")))

    async def _records(self, component: str, start: datetime, stop: datetime) -> AsyncIterator[list[Reading]]:
        """The pages of records in [start, stop)."""
        kind, ts, end = _kind(component), math.floor(start.timestamp()), math.ceil(stop.timestamp())
        while ts < end:
            async with self._one_at_a_time, self._limit(HISTORY_TIMEOUT.total_seconds()):
                answer = await self._rpc(
                    f"{_RECORDS_OF[kind]}.GetData", id=_number(component), ts=ts, end_ts=end, add_keys="true"
                )
            try:
                readings, following = readings_of_records(answer, component)
            except ValueError as error:
                self._not_understood(str(error), error)
            inside = [reading for reading in readings if reading.time is not None and start <= reading.time < stop]
            if inside:
                yield inside
            if following is None:
                return
            if following <= ts:
                self._not_understood(f"its records do not go on: after {ts} comes {following}")
            ts = following

    async def _rpc(self, method: str, **parameters: str | int) -> dict[str, Any]:
        return await self._get(f"/rpc/{method}", parameters)

    async def _get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        import httpx

        client = self._opened()
        try:
            async with client.stream("GET", path, params=dict(parameters or {})) as response:
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        self._not_understood(f"more than {MOST_BYTES} bytes")
        except httpx.TimeoutException as error:
            raise self._no_answer() from error
        except httpx.ConnectError as error:
            raise PollError(
                Outcome.refused,
                f"{self._where} cannot be connected to",
                "Check `host` and `port`, and that it has power",
                retry=True,
            ) from error
        except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError) as error:
            self._not_understood(f"the connection broke off ({type(error).__name__})", error)
        except (ValueError, KeyError, NotImplementedError) as error:  # a challenge of the digest login that is none
            self._not_understood("its login is no digest login", error)
        self._check(response.status_code, path)
        try:
            return parse_json(bytes(body))
        except ValueError as error:
            self._not_understood(str(error), error)

    def _check(self, status: int, path: str) -> None:
        if status == 200:
            return
        if status in (401, 403):
            remedy = (
                "Set `password` to the password of its user admin, as ${NAME}"
                if self._password is None
                else "Check the environment variable that `password` names"
            )
            raise PollError(Outcome.denied, f"{self._where} refuses the login ({status})", remedy)
        if status == 429:
            raise PollError(
                Outcome.limited, f"{self._where} is asked too often", "Raise `every`", wait=WAIT_WHEN_LIMITED
            )
        if status == 503:
            raise PollError(Outcome.busy, f"{self._where} is busy ({status})", retry=True)
        if status == 404:
            raise PollError(
                Outcome.unsupported, f"{self._where} knows no {path}", "Is it a Shelly of generation 2 or later?"
            )
        raise PollError(Outcome.error, f"{self._where} answers {path} with status {status}", retry=status >= 500)

    def _opened(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._base,
                auth=httpx.DigestAuth(USER, self._password.get_secret_value()) if self._password else None,
                headers={"Accept-Encoding": "identity"},
                limits=httpx.Limits(max_connections=1, keepalive_expiry=120.0),
                timeout=None,  # one limit holds for the whole poll
                trust_env=False,
            )
        return self._client

    def _limit(self, seconds: float) -> _Limit:
        return _Limit(seconds, self._no_answer, self.close)

    def _no_answer(self) -> PollError:
        return PollError(
            Outcome.timeout,
            f"{self._where} did not answer completely in time",
            "If it has power and is in reach, raise `timeout`",
            retry=True,
        )

    def _not_understood(self, what: str, cause: BaseException | None = None) -> Never:
        raise PollError(
            Outcome.broken, f"{self._where} answered wrongly: {what}", "Is this the address of the meter?", retry=True
        ) from cause

    # -- what is compared with the poll before

    def _compare(self, device: Device, values: Mapping[str, float | None]) -> list[Reading]:
        """Events in which a counter begins anew, and remembering what the next poll is compared with."""
        counters = {point: value for point, value in values.items() if value is not None and _COUNTER.fullmatch(point)}
        texts = counter_events(self._before, device, self._counters, counters)
        if self._keep is not None and device != self._before:
            self._keep("device", {"mac": device.mac, "profile": device.profile})
        self._before, self._counters = device, counters
        return [Reading("event/counter", text="; ".join(texts))] if texts else []


_RECORDS_OF: Final = {"emdata": "EMData", "em1data": "EM1Data"}


class _Limit:
    """One time limit over several requests; when it is over, or the task is cancelled, no connection is left."""

    def __init__(self, seconds: float, error: Callable[[], PollError], close: Callable[[], Any]) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._error, self._close = error, close

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as over:
            await self._close()
            raise self._error() from over
        if error is not None:
            await self._close()


def counter_events(
    before: Device | None, now: Device, counters_before: Mapping[str, float], counters: Mapping[str, float]
) -> list[str]:
    """Why counters begin anew, in words; empty if they go on.

    Args:
        before: the meter that answered before, None if none did.
        now: the meter that answers now.
        counters_before: what the counters showed before, Wh by point.
        counters: what they show now.
    """
    if before is not None and before.mac != now.mac:
        return [f"swap: meter {before.mac} was replaced by {now.mac}"]
    if before is not None and before.profile and now.profile and before.profile != now.profile:
        return [f"profile: {before.profile} was changed to {now.profile}"]
    return [
        f"{'rollback' if value > _ROLLED_BACK * counters_before[point] else 'reset'}: "
        f"{point} fell from {counters_before[point]:g} to {value:g} Wh"
        for point, value in counters.items()
        if point in counters_before and value < counters_before[point] - _SLACK_WH
    ]


def _kept_device(state: Mapping[str, Any] | None) -> Device | None:
    kept = (state or {}).get("device")
    if not isinstance(kept, Mapping) or not isinstance(kept.get("mac"), str):
        return None
    return Device(kept["mac"], str(kept.get("profile") or ""))


def _profile_changed(device: Device, status: Mapping[str, Any]) -> bool:
    """A three-phase profile has the component em:0, a single-phase one em1:0."""
    seen = "triphase" if "em:0" in status else "monophase" if "em1:0" in status else device.profile
    return bool(device.profile) and device.profile in ("triphase", "monophase") and seen != device.profile


def parse_json(content: bytes) -> dict[str, Any]:
    """An answer as an object.

    Raises:
        ValueError: it is none; numbers that are none (NaN, Infinity) are not allowed.
    """

    def refuse(constant: str) -> Never:
        raise ValueError(f"{constant} is no number")

    try:
        told = json.loads(content, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg})") from error
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")
    return told


def readings_of_status(status: Mapping[str, Any]) -> list[Reading]:
    """All measurements in an answer to `Shelly.GetStatus`.

    Raises:
        ValueError: a number is out of all bounds.
    """
    found: list[Reading] = []
    for component, fields in status.items():
        if not _COMPONENT.fullmatch(component) or not isinstance(fields, Mapping):
            continue
        numbers = list(_numbers(component, fields))
        found += numbers
        if numbers and component.startswith("em"):
            found.append(Reading(f"{component}.errors", text=_errors(fields)))
    return found


def _numbers(prefix: str, fields: Mapping[str, Any], depth: int = 0) -> Iterator[Reading]:
    for key, value in fields.items():
        if key in _LEFT_OUT or key.endswith("errors") or not _FIELD.fullmatch(key):
            continue
        if isinstance(value, Mapping) and depth < 2:
            yield from _numbers(f"{prefix}.{key}", value, depth + 1)
        elif isinstance(value, int | float):
            yield Reading(f"{prefix}.{key}", _float(value))


def _float(value: float) -> float:
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("a number is out of all bounds") from error
    if not math.isfinite(number):
        raise ValueError("a number is out of all bounds")
    return number


def _errors(fields: Mapping[str, Any]) -> str:
    """What a component complains of: its own errors, and those of its phases."""
    found = []
    for key in ("errors", "a_errors", "b_errors", "c_errors", "n_errors"):
        told = fields.get(key)
        if isinstance(told, list):
            found += [f"{key[0]}: {word}" if key != "errors" else str(word) for word in told]
    return ", ".join(sorted(set(found))) or "none"


def _mac_of(status: Mapping[str, Any]) -> str | None:
    system = status.get("sys")
    mac = system.get("mac") if isinstance(system, Mapping) else None
    return mac.upper() if isinstance(mac, str) else None


def _uptime_of(status: Mapping[str, Any]) -> float:
    """Seconds since the meter started, 0 if it does not tell; it may have other firmware since."""
    system = status.get("sys")
    told = system.get("uptime") if isinstance(system, Mapping) else None
    return float(told) if isinstance(told, int | float) and 0 <= told < 2**40 else 0.0


def _clock_of(status: Mapping[str, Any]) -> datetime | None:
    """What the meter's clock says, None before it knows."""
    system = status.get("sys")
    told = system.get("unixtime") if isinstance(system, Mapping) else None
    moment = _moment(told)
    return moment if moment is not None and moment >= EARLIEST else None


def _moment(told: object) -> datetime | None:
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < 2**33:
        return None
    return datetime.fromtimestamp(told, UTC)


@dataclass(frozen=True, slots=True)
class Block:
    """Records without a gap: begin, end (exclusive), and the seconds that each stands for."""

    start: datetime
    stop: datetime
    period: int


def blocks_of(answer: Mapping[str, Any]) -> list[Block]:
    """The blocks of records in an answer to `GetRecords`; a new one begins after each loss of power.

    Raises:
        ValueError: it is none.
    """
    told = answer.get("data_blocks")
    if not isinstance(told, list):
        raise ValueError("no `data_blocks` in the list of records")
    blocks = []
    for block in told:
        start = _moment(block.get("ts")) if isinstance(block, Mapping) else None
        period, count = (block.get(key) for key in ("period", "records")) if start else (None, None)
        if start is None or type(period) is not int or type(count) is not int or not 0 < period <= 3600:
            raise ValueError("a block of records without begin, period or number")
        if not 0 <= count <= 10_000_000:
            raise ValueError(f"a block of {count} records")
        blocks.append(Block(start, start + timedelta(seconds=period * count), period))
    return blocks


def readings_of_records(answer: Mapping[str, Any], component: str) -> tuple[list[Reading], int | None]:
    """The readings in an answer to `GetData`, and where the next page begins (unix seconds), if there is one.

    Raises:
        ValueError: it is none.
    """
    keys = answer.get("keys")
    if keys is None and component.startswith("emdata"):
        keys = EMDATA_KEYS
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise ValueError("the records do not name their columns")
    readings: list[Reading] = []
    blocks = answer.get("data")
    if not isinstance(blocks, list):
        raise ValueError("no `data` in the records")
    for block in blocks:
        if not isinstance(block, Mapping) or not isinstance(block.get("values"), list):
            raise ValueError("a block without `values`")
        start, period = _moment(block.get("ts")), block.get("period")
        if start is None or type(period) is not int or not 0 < period <= 3600:
            raise ValueError("a block without begin or period")
        for place, row in enumerate(block["values"]):
            if not isinstance(row, list) or len(row) != len(keys):
                raise ValueError("a record with another number of values than columns")
            readings += _record(component, start + timedelta(seconds=place * period), period, keys, row)
    following = answer.get("next_record_ts")
    if following is not None and (type(following) is not int or following < 0):
        raise ValueError("`next_record_ts` is no time")
    return readings, following


def readings_of_csv(text: str, component: str, period: int = 60) -> list[Reading]:
    """The readings in a file of records as the meter's page hands it out (`data.csv`).

    Args:
        text: the file, with its line of column names (`add_keys=true`).
        component: such as `emdata:0`.
        period: seconds that each record stands for; the file does not say it (60, or 300 with a 3EM Gen3).

    Raises:
        ValueError: it is none; the message names the line.
    """
    rows = csv.reader(io.StringIO(text))
    readings: list[Reading] = []
    try:
        header = next(rows, [])
        if not header or header[0] != "timestamp":
            raise ValueError("the columns are not named, ask for them with add_keys=true")
        for row in rows:
            if row:
                readings += _csv_record(component, period, header, row)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"line {max(rows.line_num, 1)}: {error}") from error
    return readings


def _csv_record(component: str, period: int, header: Sequence[str], row: Sequence[str]) -> Iterator[Reading]:
    if len(row) != len(header):
        raise ValueError(f"{len(row)} cells under {len(header)} columns")
    start = _moment(int(row[0]))
    if start is None:
        raise ValueError(f"{row[0]} is no time")
    return _record(component, start, period, header[1:], [_float(float(cell)) if cell else None for cell in row[1:]])


def _record(
    component: str, start: datetime, period: int, keys: Sequence[str], row: Sequence[object]
) -> Iterator[Reading]:
    """One record: `total_act_energy` is here what flowed within the period, not a counter."""
    told = {
        key: _float(value)
        for key, value in zip(keys, row, strict=True)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    powers = []
    for prefix in ("a_", "b_", "c_", ""):
        energy = told.get(f"{prefix}total_act_energy")
        if energy is not None:
            power = (energy - told.get(f"{prefix}total_act_ret_energy", 0.0)) * 3600 / period
            powers.append(power)
            yield Reading(f"{component}.record.{prefix}act_power", power, time=start)
        for key in _RECORDED:
            if f"{prefix}{key}" in told:
                yield Reading(f"{component}.record.{prefix}{key}", told[f"{prefix}{key}"], time=start)
    if component.startswith("emdata") and powers:
        yield Reading(f"{component}.record.total_act_power", sum(powers), time=start)


def _kind(component: str) -> str:
    return component.partition(":")[0]


def _number(component: str) -> int:
    return int(component.partition(":")[2])


def open_source(
    settings: ShellySource,
    *,
    state: Mapping[str, Any] | None = None,
    keep: Callable[[str, Any], object] | None = None,
) -> ShellyMeter:
    """The meter that the settings name.

    Args:
        settings: the source.
        state: what was kept for it before.
        keep: keeps a small thing (key, JSON) for it.
    """
    return ShellyMeter(settings, state, keep)


@dataclass(frozen=True)
class ShellyProbe:
    """What was found.

    Attributes:
        settings: the connection.
        device: the meter that answered.
        drift: how far its clock is ahead; None if it does not know the time.
        readings: what it measures now.
        blocks: by component, the stretches that it has records of.
        profile: the profile that reads it, None if none does.
    """

    settings: ShellySource
    device: Device
    drift: timedelta | None
    readings: tuple[Reading, ...]
    blocks: Mapping[str, tuple[Block, ...]]
    profile: str | None


async def probe(settings: ShellySource) -> ShellyProbe:
    """Read a meter once.

    Raises:
        PollError: it cannot be read.
    """
    meter = open_source(settings)
    try:
        polled = await meter.poll()
        device, blocks = await meter.about()
    finally:
        await meter.close()
    points = {reading.point for reading in polled.readings}
    profile = next((name for name, point in _PROFILES.items() if point & points), None)
    drift = None if polled.device_time is None else polled.device_time - datetime.now(UTC)
    measured = tuple(reading for reading in polled.readings if not reading.point.startswith("device."))
    return ShellyProbe(settings, device, drift, measured, blocks, profile)


_PROFILES: Final = {
    "shelly_3em": {"em:0.total_act_power"},
    "shelly_em": {"em1:0.act_power"},
    "shelly_pm": {"switch:0.apower", "pm1:0.apower"},
}
"""By profile the points that show that it fits."""
_SHOWN = re.compile(r".*(power|voltage|current|act|energy|total|errors)", re.ASCII)
_UNITS: Final = (
    (re.compile(r".*(?:act|energy|aenergy)(?:\.total)?|emdata:.*_act(?:_ret)?", re.ASCII), "Wh"),
    (re.compile(r".*(?:act_power|\.apower)", re.ASCII), "W"),
    (re.compile(r".*aprt_power", re.ASCII), "VA"),
    (re.compile(r".*voltage", re.ASCII), "V"),
    (re.compile(r".*current", re.ASCII), "A"),
    (re.compile(r".*freq", re.ASCII), "Hz"),
    (re.compile(r".*\.tC", re.ASCII), "°C"),
)
"""Units by the field's name; the first that fits."""


def _with_unit(reading: Reading) -> str:
    if reading.value is None:
        return reading.text or ""
    unit = next((unit for fields, unit in _UNITS if fields.fullmatch(reading.point)), "")
    return f"{reading.value:.7g} {unit}".rstrip()


def format_probe(found: ShellyProbe, *, everything: bool = False, password_env: str = "SHELLY_PASSWORD") -> str:
    """The report as text for a terminal, with the lines for hp.yaml.

    Args:
        found: what was found.
        password_env: the environment variable that has the password.
        everything: list every field that it tells, not only what an electrician looks for.
    """
    device, settings = found.device, found.settings
    profile = f", profile {device.profile}" if device.profile else ""
    lines = [
        f"Shelly meter at {settings.host}:{settings.port}",
        f"  model {device.model or 'unknown'}, MAC {device.mac}, firmware {device.firmware or 'unknown'}{profile}",
    ]
    if found.drift is None:
        lines.append("  it does not know the time: let it reach a time server, or its records have none")
    else:
        lines.append(f"  {clock_line(found.drift)}")
    shown = [reading for reading in found.readings if everything or _SHOWN.fullmatch(reading.point)]
    lines += [f"    {reading.point:<36}{_with_unit(reading):>16}" for reading in shown]
    for component, blocks in found.blocks.items():
        if blocks:
            first, last = min(block.start for block in blocks), max(block.stop for block in blocks)
            lines.append(
                f"  {component} has records of every {blocks[-1].period} s from {first:%Y-%m-%d %H:%M} "
                f"to {last:%Y-%m-%d %H:%M} UTC, in {len(blocks)} blocks"
            )
    if found.profile is None:
        return "\n".join([*lines, "", "No shipped profile fits: it has no meter that is known.", ""])
    values = {one.point: one.value if one.value is not None else one.text or "" for one in found.readings}
    lines += signal_lines(found.profile, *signals_found(load_profile(found.profile), values))
    source = [f"id: {settings.id}", "kind: shelly", f"host: {settings.host}"]
    if settings.port != ShellySource.model_fields["port"].default:
        source.append(f"port: {settings.port}")
    if settings.password is not None:
        source.append(f"password: ${{{password_env}}}")
    return "\n".join([*lines, *lines_for_settings(source, [(settings.id, found.profile)]), ""])
