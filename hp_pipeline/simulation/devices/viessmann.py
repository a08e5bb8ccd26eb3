"""Viessmann's cloud over a simulated house: login with PKCE, devices, features, limits, and everything that goes wrong.

A server on loopback in threads of its own. Features are built from the house's state: those of a newer device (`e3`:
speed, powers, energies by day, month and year, one circuit `0`) or of an older one (`classic`: modulation, phases, one
circuit with the id `1`). Each carries the time at which it last changed, as the cloud tells it: sensors on the minute,
states to the second.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlencode, urlsplit
from zoneinfo import ZoneInfo

from hp_pipeline.simulation.devices.world import Clock, LivedIn, State

Place = Literal["authorize", "token", "devices", "features"]

SERIAL: Final = "7000000000000000"
"""Serial number of the gateway."""

FAULTS: Final = (
    # of the line
    *(
        "stall",
        "fragment",
        "trickle",
        "close",
        "drop",
        "wrong_length",
        "garbage",
        "empty",
        "html",
        "html_502",
        "redirect",
    ),
    # of the cloud
    *("busy", "error_500", "rate_limit", "rate_limit_bare", "expired", "unauthorised", "forbidden", "not_paid"),
    *("not_found", "device_offline", "gateway_offline", "no_data"),
    # of what the device tells
    *("sentinel", "counter_reset", "torn_pair", "clock_offset", "duplicate", "out_of_order", "odd_values", "frozen"),
)
"""What can be injected."""

OF_THE_DEVICE: Final = FAULTS[FAULTS.index("sentinel") :]


@dataclass(frozen=True)
class Call:
    """One request as it came: when (virtual time), which, and the status of the answer (0: none)."""

    time: datetime
    place: str
    status: int


@dataclass(frozen=True)
class Injected:
    """One fault as it was injected: when (virtual time), what, and into which answer."""

    time: datetime
    fault: str
    place: str


@dataclass
class _Planned:
    fault: str
    place: str
    times: int | None


@dataclass
class _Account:
    """Who may log in, what they were given, and how much they have asked."""

    username: str
    password: str
    client_id: str
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    access: dict[str, datetime] = field(default_factory=dict)
    refresh: set[str] = field(default_factory=set)
    day_opened: datetime | None = None
    day_calls: int = 0
    recent: list[datetime] = field(default_factory=list)


class ViessmannCloudServer:
    """The cloud, for one account with one gateway. Use it as a context manager.

    Args:
        house: what the device is in; None when `document` is served.
        clock: the virtual time.
        make: which kind of device.
        document: a document that is served as it is, instead of one built from the house.
        time_zone: of the device's days.
        username, password, client_id: who may log in.
        lifetime: of an access token.
        rotate: whether a refresh token can be used only once.
        calls_per_day, calls_per_10min: the account's limits.
        port: where it listens, 0 for a free one.
    """

    def __init__(
        self,
        house: LivedIn | None = None,
        clock: Clock | None = None,
        *,
        make: Literal["e3", "classic"] = "e3",
        document: Mapping[str, Any] | None = None,
        time_zone: str = "Europe/Berlin",
        username: str = "me@example.org",
        password: str = "secret",
        client_id: str = "client",
        lifetime: timedelta = timedelta(hours=1),
        rotate: bool = True,
        calls_per_day: int = 1450,
        calls_per_10min: int = 120,
        port: int = 0,
    ) -> None:
        self.clock = clock or Clock(house.start if house else datetime.now(UTC))
        self.calls: list[Call] = []
        self.injected: list[Injected] = []
        self.rotate = rotate
        self.lifetime = lifetime
        self.refresh_tokens = True
        self._device = _Device(house, make, ZoneInfo(time_zone)) if house else None
        self._document = document
        self._limits = (calls_per_day, calls_per_10min)
        self._account = _Account(username, password, client_id)
        self._planned: list[_Planned] = []
        self._old: list[dict[str, Any]] = []
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._server: _Server | None = None
        self._port = port

    # ---- for the one who runs it -----------------------------------------------------------------------------------

    def __enter__(self) -> ViessmannCloudServer:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def listen(self) -> None:
        """Begin to listen; again on the same port after `stop`."""
        self._ending.clear()
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening (connections are refused then) and end what runs."""
        self._ending.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    @property
    def base_url(self) -> str:
        """Address of the interface."""
        return f"http://127.0.0.1:{self._port}/iot/v2"

    @property
    def login_url(self) -> str:
        """Address of the login."""
        return f"http://127.0.0.1:{self._port}/idp/v3"

    def inject(self, fault: str, *, place: Place = "features", times: int | None = 1) -> None:
        """Let the next answers of a place be faulty; `times` None: until `heal`."""
        if fault not in FAULTS:
            raise ValueError(f"{fault!r} is not one of {', '.join(FAULTS)}")
        with self._lock:
            self._planned.append(_Planned(fault, place, times))

    def heal(self) -> None:
        """No faults any more; counters go on from where they are."""
        with self._lock:
            self._planned.clear()

    def give_refresh_token(self) -> str:
        """A refresh token as a login in the browser gives it."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._account.refresh.add(token)
        return token

    def revoke(self) -> None:
        """No token that was given is accepted any more."""
        with self._lock:
            self._account.access.clear()
            self._account.refresh.clear()

    # ---- answering -------------------------------------------------------------------------------------------------

    def _answer(self, request: _Request) -> tuple[int, dict[str, str], bytes, str | None]:
        """Status, headers, body, and the fault of the line."""
        with self._lock:
            now = self.clock.now()
            place = request.place
            if place is None:
                return (*_json(404, {"statusCode": 404, "errorType": "NOT_FOUND"}), None)
            fault = self._fault(place, now)
            if fault in _CLOUD_FAULTS:
                return (*_CLOUD_FAULTS[fault](now), None)
            limited = self._limited(now)
            if limited is not None:
                return (*_json(429, limited), None)
            if place == "authorize":
                return (*self._authorize(request), fault)
            if place == "token":
                return (*self._token(request, now), fault)
            if not self._is_let_in(request, now):
                return (*_json(401, {"error": "EXPIRED TOKEN"}), None)
            if place == "devices":
                return (*_json(200, {"data": [self._installation()]}), fault)
            return (*self._features(request, now, fault), fault)

    def _fault(self, place: str, now: datetime) -> str | None:
        for planned in self._planned:
            if planned.place == place and planned.times != 0:
                planned.times = None if planned.times is None else planned.times - 1
                self.injected.append(Injected(now, planned.fault, place))
                return planned.fault
        return None

    def _limited(self, now: datetime) -> dict[str, Any] | None:
        account = self._account
        if account.day_opened is None or now >= account.day_opened + timedelta(days=1):
            account.day_opened, account.day_calls = now, 0
        account.recent = [moment for moment in account.recent if moment > now - timedelta(minutes=10)]
        if account.day_calls >= self._limits[0]:
            return _rate_limit(account.day_opened + timedelta(days=1), self._limits[0], "ViCare day limit")
        if len(account.recent) >= self._limits[1]:
            return _rate_limit(account.recent[0] + timedelta(minutes=10), self._limits[1], "ViCare 10 minutes limit")
        account.day_calls += 1
        account.recent.append(now)
        return None

    def _authorize(self, request: _Request) -> tuple[int, dict[str, str], bytes]:
        account = self._account
        asked = {key: values[0] for key, values in parse_qs(request.query).items()}
        if asked.get("client_id") != account.client_id or asked.get("code_challenge_method") != "S256":
            return _json(400, {"error": "invalid_client", "error_description": "client or challenge"})
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        login = base64.b64decode(encoded or "").decode()
        if scheme != "Basic" or login != f"{account.username}:{account.password}":
            return _json(401, {"error": "unauthorized", "error_description": f"no login for {login}"})
        code = secrets.token_urlsafe(16)
        account.codes[code] = (asked["code_challenge"], asked["redirect_uri"])
        location = f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked.get('state', '')})}"
        return 302, {"Location": location}, b""

    def _token(self, request: _Request, now: datetime) -> tuple[int, dict[str, str], bytes]:
        account = self._account
        form = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
        refused = _json(400, {"error": "invalid_grant", "error_description": request.body.decode()})
        if form.get("client_id") != account.client_id:
            return refused
        if form.get("grant_type") == "authorization_code":
            challenge, redirect = account.codes.pop(form.get("code", ""), ("", ""))
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if not challenge or made != challenge or redirect != form.get("redirect_uri"):
                return refused
        elif form.get("refresh_token") not in account.refresh:
            return refused
        elif self.rotate:
            account.refresh.discard(form["refresh_token"])
        access = f"access-{secrets.token_urlsafe(24)}"
        account.access[access] = now + self.lifetime
        told: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.lifetime.total_seconds(),
        }
        if self.refresh_tokens:
            kept = not self.rotate and form.get("grant_type") == "refresh_token"
            told["refresh_token"] = form["refresh_token"] if kept else f"refresh-{secrets.token_urlsafe(24)}"
            account.refresh.add(told["refresh_token"])
        return _json(200, told)

    def _is_let_in(self, request: _Request, now: datetime) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and now < self._account.access.get(token, now)

    def _installation(self) -> dict[str, Any]:
        devices = [
            {"id": "gateway", "modelId": "E3_TCU41_x04", "status": "Online", "deviceType": "tcu"}
            | {"roles": ["type:gateway;TCU100"]},
            {"id": "0", "modelId": "E3_Vitocal", "status": "Online", "deviceType": "heating"}
            | {"roles": ["type:heatpump", "type:E3"]},
        ]
        if self._device and self._device.make == "classic":
            devices[1] |= {"modelId": "CU401B_G", "roles": ["type:heatpump", "type:legacy"]}
        if self._device and self._device.make == "e3":
            devices.append(
                {"id": "RoomControl-1", "modelId": "E3_RoomSensor", "status": "Online", "deviceType": "roomControl"}
                | {"roles": ["type:climateSensor"]}
            )
        return {"id": 12345, "gateways": [{"serial": SERIAL, "devices": devices}]}

    def _features(self, request: _Request, now: datetime, fault: str | None) -> tuple[int, dict[str, str], bytes]:
        if f"/gateways/{SERIAL}/" not in request.path:
            return _json(404, {"statusCode": 404, "errorType": "GATEWAY_NOT_FOUND"})
        if self._document is not None:
            data = list(copy.deepcopy(dict(self._document))["data"])
        else:
            assert self._device is not None
            data = self._device.features(now if fault != "frozen" else self._device.last or now)
        if fault in OF_THE_DEVICE:
            data = _distort(data, fault, self._old or data, now)
        if fault != "out_of_order":
            self._old = data
        device = request.path.partition("/devices/")[2].partition("/")[0]
        if device:
            data = [entry for entry in data if entry.get("deviceId", "0") == device]
        return _json(200, {"data": data})


_CLOUD_FAULTS: Final[Mapping[str | None, Callable[[datetime], tuple[int, dict[str, str], bytes]]]] = {
    "busy": lambda now: _json(503, {"statusCode": 503, "errorType": "SERVICE_UNAVAILABLE", "message": "later"}),
    "error_500": lambda now: _json(500, {"statusCode": 500, "errorType": "INTERNAL_SERVER_ERROR", "viErrorId": "x"}),
    "html_502": lambda now: (502, {"Content-Type": "text/html"}, b"<html><h1>Bad Gateway</h1></html>"),
    "html": lambda now: (200, {"Content-Type": "text/html"}, b"<!doctype html><html>Maintenance</html>"),
    "garbage": lambda now: (200, {"Content-Type": "application/json"}, b'{"data": [{"feature": \x00\xff'),
    "empty": lambda now: (200, {"Content-Type": "application/json"}, b""),
    "redirect": lambda now: (302, {"Location": "https://example.org/login"}, b""),
    "rate_limit": lambda now: _json(429, _rate_limit(now + timedelta(hours=3), 1450, "ViCare day limit")),
    "rate_limit_bare": lambda now: (429, {"Content-Type": "text/plain"}, b"too many requests"),
    "expired": lambda now: _json(401, {"error": "EXPIRED TOKEN"}),
    "unauthorised": lambda now: (401, {"Content-Type": "text/html"}, b"<html>401</html>"),
    "forbidden": lambda now: _json(403, {"statusCode": 403, "errorType": "FORBIDDEN", "message": "no rights"}),
    "not_paid": lambda now: _json(
        403, {"statusCode": 403, "errorType": "PACKAGE_NOT_PAID_FOR", "extendedPayload": {"monetization": "Basic"}}
    ),
    "not_found": lambda now: _json(404, {"statusCode": 404, "errorType": "GATEWAY_NOT_FOUND", "message": "?"}),
    "device_offline": lambda now: _json(400, _offline("DEVICE_OFFLINE")),
    "gateway_offline": lambda now: _json(400, _offline("GATEWAY_OFFLINE")),
    "no_data": lambda now: _json(200, {"data": None}),
}


def _json(status: int, document: Any) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _rate_limit(until: datetime, limit: int, name: str) -> dict[str, Any]:
    return {
        "viErrorId": "req-1",
        "statusCode": 429,
        "errorType": "RATE_LIMIT_EXCEEDED",
        "message": "API calls rate limit has been exceeded. Please wait until your limit will renew.",
        "extendedPayload": {
            "name": name,
            "requestCountLimit": limit,
            "clientId": "X",
            "userId": "X",
            "limitReset": int(until.timestamp() * 1000),
        },
    }


def _offline(reason: str) -> dict[str, Any]:
    return {
        "viErrorId": "req-1",
        "statusCode": 400,
        "errorType": "DEVICE_COMMUNICATION_ERROR",
        "message": "",
        "extendedPayload": {"httpStatusCode": "NotFound", "code": "404", "reason": reason},
    }


def _distort(data: list[dict[str, Any]], fault: str | None, old: Any, now: datetime) -> list[dict[str, Any]]:
    """What the device tells, with a fault in it."""
    data = copy.deepcopy(data)
    if fault == "out_of_order":
        return list(copy.deepcopy(old))
    if fault == "duplicate":
        return [entry for entry in data for _ in range(2)]
    for entry in data:
        properties = entry["properties"]
        if fault == "sentinel" and ".sensors." in entry["feature"]:
            entry["properties"] = {"status": {"type": "string", "value": "notConnected"}}
        elif fault == "counter_reset" and "statistics" in entry["feature"]:
            for value in properties.values():
                value["value"] = 0
        elif fault == "torn_pair" and "consumption" in entry["feature"] and entry["feature"].endswith("dhw"):
            entry.update(copy.deepcopy(next(item for item in old if item["feature"] == entry["feature"])))
        elif fault == "clock_offset":
            entry["timestamp"] = _text(now + timedelta(hours=1))
        elif fault == "odd_values":
            for value in properties.values():
                value["value"] = [{"a": [value["value"]]}, None] if value["type"] == "number" else 1e999
    if fault == "odd_values":
        data += [{"feature": 7}, {"feature": "a.b"}, {"feature": "a.b", "properties": {"value": 3}}, {}]
    return data


# ---- the device ----------------------------------------------------------------------------------------------------

_TICK = timedelta(minutes=1)
_LOOKED_BACK = 30


class _Device:
    """A heat pump that reports to the cloud what has changed."""

    def __init__(self, house: LivedIn, make: Literal["e3", "classic"], zone: ZoneInfo) -> None:
        self.make = make
        self.last: datetime | None = None
        self._house = house
        self._zone = zone
        self._since: dict[str, tuple[dict[str, Any], datetime]] = {}

    def features(self, now: datetime) -> list[dict[str, Any]]:
        self.last = now
        ticked = max(now.replace(second=0, microsecond=0), self._house.start)
        sensors = self._stamped(_sensors(self._house.at(ticked), self.make), ticked, _sensors, _TICK)
        states = self._stamped(_states(self._house.at(now), self.make), now, _states, timedelta(seconds=1))
        entries = sensors + states + [self._entry(*item) for item in self._energies(ticked)]
        return sorted(entries, key=lambda entry: str(entry["feature"]))

    def _stamped(
        self,
        told: Mapping[str, dict[str, Any]],
        now: datetime,
        build: Callable[[State, str], Mapping[str, dict[str, Any]]],
        exact: timedelta,
    ) -> list[dict[str, Any]]:
        """Entries with the time since which each says what it says, looked up in the past (up to half an hour)."""
        past = [now - _TICK * back for back in range(1, _LOOKED_BACK + 1) if now - _TICK * back >= self._house.start]
        sought = {name for name, value in told.items() if self._since.get(name, (None,))[0] != value}
        found = dict.fromkeys(sought, past[-1] if past else now)
        later = now
        for moment in past:
            if not sought:
                break
            before = build(self._house.at(moment), self.make)
            for name in [name for name in sought if before[name] != told[name]]:
                found[name] = self._changed(name, told[name], (moment, later), build, exact)
                sought.discard(name)
            later = moment
        for name, since in found.items():
            self._since[name] = (told[name], since)
        return [self._entry(name, value, self._since[name][1]) for name, value in told.items()]

    def _changed(
        self,
        name: str,
        value: dict[str, Any],
        between: tuple[datetime, datetime],
        build: Callable[[State, str], Mapping[str, dict[str, Any]]],
        exact: timedelta,
    ) -> datetime:
        """When it became so, by halving the time between a moment before and one after."""
        before, after = between
        while after - before > exact:
            middle = before + (after - before) / 2
            if build(self._house.at(middle), self.make)[name] == value:
                after = middle
            else:
                before = middle
        return after

    def _entry(self, name: str, properties: dict[str, Any], since: datetime) -> dict[str, Any]:
        device, _, feature = name.rpartition("|")
        device = device or "0"
        address = f"/iot/v2/features/installations/12345/gateways/{SERIAL}/devices/{device}/features/{feature}"
        return {
            "apiVersion": 1,
            "commands": {},
            "deviceId": device,
            "feature": feature,
            "gatewayId": SERIAL,
            "isEnabled": True,
            "isReady": True,
            "properties": copy.deepcopy(properties),
            "timestamp": _text(since),
            "uri": f"https://api.viessmann-climatesolutions.com{address}",
        }

    def _energies(self, now: datetime) -> list[tuple[str, dict[str, Any], datetime]]:
        if self.make != "e3":
            return []
        days = [self._day(now, back) for back in range(9)]
        months = [self._month(now, back) for back in range(14)]
        years = [date(now.astimezone(self._zone).year - back, 1, 1) for back in range(3)]
        result = []
        parts = {"heating": "electrical_energy_heating_total", "dhw": "electrical_energy_dhw_total"}
        for part, counter in {**parts, "total": "electrical_energy_total"}.items():
            properties: dict[str, Any] = {}
            for period, begins in (("day", days), ("month", months), ("year", years)):
                values = self._between(counter, begins, now)
                properties[period] = {"type": "array", "unit": "kilowattHour", "value": values}
                properties[f"{period}ValueReadAt"] = {"type": "string", "value": _text(now)}
            result.append((f"heating.power.consumption.{part}", properties, now))
        heat = {"heating": "thermal_energy_heating_total", "dhw": "thermal_energy_dhw_total"}
        for name, counters in (("heating.power.consumption", parts), ("heating.heat.production", heat)):
            for part, counter in counters.items():
                day, month, year = (self._between(counter, begins, now) for begins in (days, months, years))
                told = {"currentDay": day[0], "currentMonth": month[0], "currentYear": year[0]}
                told |= {"lastMonth": month[1], "lastYear": year[1], "lastSevenDays": round(sum(day[:7]), 1)}
                summary = {key: _number(value, "kilowattHour") for key, value in told.items()}
                result.append((f"{name}.summary.{part}", summary, now))
        return result

    def _between(self, counter: str, begins: list[date], now: datetime) -> list[float]:
        """Energies (kWh) since the first begin, and between each two of them; 0 before the house was there."""
        moments = [now, *(datetime.combine(day, datetime.min.time(), self._zone).astimezone(UTC) for day in begins)]
        counts = [self._house.counter(counter, max(moment, self._house.start)) for moment in moments]
        return [round(later - earlier, 1) for later, earlier in itertools.pairwise(counts)]

    def _day(self, now: datetime, back: int) -> date:
        return now.astimezone(self._zone).date() - timedelta(days=back)

    def _month(self, now: datetime, back: int) -> date:
        local = now.astimezone(self._zone)
        months = local.year * 12 + local.month - 1 - back
        return date(months // 12, months % 12 + 1, 1)


def _sensors(state: State, make: str) -> dict[str, dict[str, Any]]:
    """What is measured all the time."""

    def degrees(name: str) -> dict[str, Any]:
        return _sensor(round(state.number(name), 1), "celsius")

    told = {
        "heating.sensors.temperature.outside": degrees("outdoor_temperature"),
        "heating.sensors.temperature.return": degrees("return_temperature"),
        "heating.secondaryCircuit.sensors.temperature.supply": degrees("flow_temperature"),
        "heating.primaryCircuit.sensors.temperature.supply": degrees("source_in_temperature"),
        "heating.dhw.sensors.temperature.dhwCylinder": degrees("dhw_temperature"),
        "heating.bufferCylinder.sensors.temperature.main": {"status": {"type": "string", "value": "notConnected"}},
    }
    circuit = "1" if make == "classic" else "0"
    told[f"heating.circuits.{circuit}.sensors.temperature.supply"] = degrees("flow_temperature")
    told[f"heating.circuits.{circuit}.temperature"] = {
        "value": _number(round(state.number("flow_setpoint"), 1), "celsius")
    }
    hours, starts = state.number("compressor_hours_total"), state.number("compressor_starts_total")
    if make == "classic":
        share = min(100.0, state.number("compressor_frequency"))
        told |= {
            "heating.compressors.0.sensors.power": _sensor(round(share), "percent"),
            "heating.compressors.0.power": {"value": _number(12, "kilowatt")},
            "heating.compressors.0.statistics": {
                "hours": _number(round(hours, 1), "hour"),
                "starts": _number(starts, ""),
            },
            "heating.compressors.0.power.consumption.current": {
                "value": _number(round(state.number("electrical_power") / 1000, 3), "kilowatt")
            },
            "heating.compressors.0.heat.production.current": {
                "value": _number(round(state.number("thermal_power")), "watt")
            },
            "heating.primaryCircuit.sensors.temperature.return": degrees("source_out_temperature"),
            "heating.sensors.temperature.hotGas": degrees("hot_gas_temperature"),
            "heating.heatingRod.runtime": {
                "levelOne": _number(round(state.number("backup_heater_hours_total") * 3600), "seconds")
            },
        }
        return told
    told |= {
        "heating.compressors.0.speed.current": {
            "value": _number(round(state.number("compressor_frequency"), 1), "revolutionsPerSecond")
        },
        "heating.compressors.0.statistics": {"hours": _number(int(hours), "hour"), "starts": _number(starts, "")},
        "heating.compressors.0.sensors.temperature.outlet": degrees("hot_gas_temperature"),
        "heating.inverters.0.sensors.power.output": _sensor(round(state.number("compressor_power")), "watt"),
        "heating.sensors.volumetricFlow.allengra": _sensor(round(state.number("flow_rate")), "liter"),
        "RoomControl-1|device.sensors.temperature": degrees("room_temperature"),
        "gateway|tcu.wifi": {"strength": _number(-61, "")},
    }
    return told


def _states(state: State, make: str) -> dict[str, dict[str, Any]]:
    """What is switched or set now and then."""
    mode, running, defrost = state.word("operating_mode"), state.flag("compressor_on"), state.flag("defrost")
    to_tank = state.word("three_way_valve") == "dhw"
    circuit = "1" if make == "classic" else "0"
    programs = (
        ("comfort", "normal", "reduced") if make == "classic" else ("comfortHeating", "normalHeating", "reducedHeating")
    )
    temperatures = (state.number("room_setpoint") + 1, state.number("room_setpoint"), state.number("room_setpoint") - 2)
    told: dict[str, dict[str, Any]] = {
        "heating.circuits": {"enabled": {"type": "array", "value": [circuit]}},
        "heating.compressors": {"enabled": {"type": "array", "value": ["0"]}},
        f"heating.circuits.{circuit}": {"active": _flag(True), "type": _word("heatingCircuit"), "name": _word("")},
        f"heating.circuits.{circuit}.circulation.pump": {"status": _word("on" if mode == "heating" else "off")},
        f"heating.circuits.{circuit}.heating.curve": {"slope": _number(0.6, ""), "shift": _number(0, "")},
        f"heating.circuits.{circuit}.operating.programs.active": {"value": _word(programs[1])},
        "heating.dhw.temperature.main": {"value": _number(round(state.number("dhw_setpoint"), 1), "celsius")},
        "heating.dhw.schedule": {
            "active": _flag(True),
            "entries": {
                "type": "Schedule",
                "value": {day: [{"start": "05:00", "end": "22:00", "mode": "on", "position": 0}] for day in _DAYS},
            },
        },
        "device.messages.errors.raw": {"entries": {"type": "array", "value": []}},
    }
    for program, temperature in zip(programs, temperatures, strict=True):
        told[f"heating.circuits.{circuit}.operating.programs.{program}"] = {
            "active": _flag(program == programs[1]),
            "temperature": _number(round(temperature, 1), "celsius"),
        }
    if make == "classic":
        phase = "defrost" if defrost else "heating" if running else "off"
        told["heating.compressors.0"] = {"active": _flag(running), "phase": _word(phase)}
        told["heating.dhw.charging"] = {"active": _flag(to_tank and running)}
        told["heating.dhw.pumps.circulation"] = {"status": _word("off")}
        return told
    told["heating.compressors.0"] = {"active": _flag(running), "phase": _word("ready" if running else "off")}
    told["heating.outdoor.defrosting"] = {"active": _flag(defrost)}
    told["heating.secondaryCircuit.operation.state"] = {"currentValue": _word(mode), "targetValue": _word(mode)}
    told["heating.heatingRod"] = {"active": _flag(True)}
    return told


_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _sensor(value: float, unit: str) -> dict[str, Any]:
    return {"status": _word("connected"), "value": _number(value, unit)}


def _number(value: float, unit: str) -> dict[str, Any]:
    return {"type": "number", "unit": unit, "value": int(value) if float(value).is_integer() else value}


def _word(value: str) -> dict[str, Any]:
    return {"type": "string", "value": value}


def _flag(value: bool) -> dict[str, Any]:
    return {"type": "boolean", "value": value}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


# ---- HTTP ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def place(self) -> Place | None:
        if self.method == "POST":
            return {"/idp/v3/authorize": "authorize", "/idp/v3/token": "token"}.get(self.path)  # type: ignore[return-value]
        if self.path == "/iot/v2/equipment/installations":
            return "devices"
        return "features" if self.path.startswith("/iot/v2/features/installations/12345/") else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is nothing to speak of."""


def _handler(cloud: ViessmannCloudServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Calls are kept in `calls`."""

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = _Request(self.command, parts.path, parts.query, headers, body)
            status, told, content, fault = cloud._answer(request)
            silent = fault in ("stall", "drop")
            with cloud._lock:
                cloud.calls.append(Call(cloud.clock.now(), request.place or parts.path, 0 if silent else status))
            if fault == "stall":
                cloud._ending.wait(60)
            if silent:
                self._hang_up()
                return
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + (1000 if fault in ("wrong_length", "close") else 0)))
            self.end_headers()
            if fault == "close":
                self.wfile.write(content[: len(content) // 2])
                self._hang_up()
            elif fault == "wrong_length":
                self.wfile.write(content)
                self._hang_up()
            elif fault in ("fragment", "trickle"):
                size = 4096 if fault == "fragment" else 1
                for at in range(0, len(content), size):
                    self.wfile.write(content[at : at + size])
                    self.wfile.flush()
                    if cloud._ending.is_set():
                        return
                    time.sleep(0.002 if fault == "fragment" else 0.05)
            else:
                self.wfile.write(content)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    return Handler
