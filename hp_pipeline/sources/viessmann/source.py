"""An account of Viessmann's cloud as a source: a poll is one uncached request a gateway, and brings all devices.

PyViCare knows the addresses and the devices. It is synchronous, so it runs in a thread; its requests come back to the
collector's loop, where they are counted, have a time limit, and end with the poll.

Points are feature and property (`heating.circuits.0.temperature.value`) for device `0`, the heat generator. Those of
other devices have the device's id before them (`RoomControl-1/…`), and on further gateways the gateway's serial number.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hp_pipeline.settings import ViessmannSource
from hp_pipeline.sources.budget import OpensLedger, Window
from hp_pipeline.sources.live import Document, Outcome, Polled, PollError
from hp_pipeline.sources.viessmann.capabilities import Capabilities, capabilities
from hp_pipeline.sources.viessmann.features import Affirmations, Feature, features_of
from hp_pipeline.sources.viessmann.history import remembered
from hp_pipeline.sources.viessmann.oauth import OAuthManager
from hp_pipeline.sources.viessmann.token_file import TokenFile
from hp_pipeline.sources.viessmann.wire import Wire

DOCUMENT = "viessmann_features"
"""Kind of the documents that are kept: a gateway's features, as they came."""

MAIN_DEVICE = "0"
"""Id that the cloud gives to the heat generator behind a gateway."""

_INSTALLATIONS = "/equipment/installations?includeGateways=true"


def open_source(
    settings: ViessmannSource,
    *,
    folder: Path,
    open_ledger: OpensLedger,
    time_zone: str = "UTC",
    now: Callable[[], datetime] | None = None,
) -> ViessmannCloud:
    """The account as a source. Nothing is asked before the first poll.

    Args:
        settings: the source.
        folder: where the login is kept, in `viessmann_<id>.json` (mode 600): the data folder.
        open_ledger: gives the ledger of the account's calls, `partial(CallLedger, landing)`.
        time_zone: the site's, by which the device's days count.
        now: the time; the machine's clock without it.
    """
    return ViessmannCloud(settings, folder, open_ledger, time_zone, now or _machine_time)


def account_of(settings: ViessmannSource) -> str:
    """A name for the account that says nothing about it; sources of one account share it, and so its budget."""
    text = f"{settings.base_url}\0{settings.client_id.get_secret_value()}\0{settings.username or ''}"
    return f"viessmann-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def windows_of(settings: ViessmannSource) -> tuple[Window, Window]:
    """The rules of the account's budget: the day opens with its first call, the ten minutes slide."""
    return (
        Window("day", settings.calls_per_day, timedelta(days=1), opens_at_first_call=True, reserve=settings.reserve),
        Window("10 minutes", settings.calls_per_10min, timedelta(minutes=10)),
    )


@dataclass(frozen=True, slots=True)
class _Brought:
    """One document, and what it is about."""

    gateway: str
    features: list[Feature]
    entities: list[Mapping[str, Any]]
    content: bytes


class ViessmannCloud:
    """All devices of one account. Made by `open_source`."""

    def __init__(
        self,
        settings: ViessmannSource,
        folder: Path,
        open_ledger: OpensLedger,
        time_zone: str,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._now = now
        self._zone = ZoneInfo(settings.time_zone or time_zone)
        self._ledger = open_ledger(account_of(settings), windows_of(settings))
        self._wire = Wire(self._ledger, now)
        self._oauth = OAuthManager(settings, self._wire, TokenFile(folder / f"viessmann_{settings.id}.json"), now)
        self._affirmations = Affirmations(max(3 * settings.every, timedelta(hours=1)))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"viessmann-{settings.id}")
        self._brought: list[_Brought] = []
        self._faults: dict[str, PollError] = {}
        self._devices: list[tuple[str, Mapping[str, Any]]] = []
        self._health: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"ViessmannCloud({self._settings.id!r})"

    async def poll(self) -> Polled:
        """Ask each gateway once, uncached; see the module.

        Raises:
            PollError: as its outcome says; with several gateways only if none of them answered.
        """
        now = self._now()
        brought = await self._within_time()
        home = (await self._oauth.remembered()).home
        prefixes = self._prefixes(brought, home)
        features = [feature for item in brought for feature in item.features]
        return Polled(
            readings=self._affirmations.readings(features, prefixes, now),
            documents=[Document(DOCUMENT, item.content) for item in brought],
            identity=_identity(features),
        )

    async def history(self, start: datetime, stop: datetime) -> AsyncIterator[Polled]:
        """What the cloud's lists of days and months say of [start, stop): see `history`. One request for each gateway.

        Raises:
            PollError: as of a poll.
        """
        brought = await self._within_time()
        home = (await self._oauth.remembered()).home
        prefixes = self._prefixes(brought, home)
        for item in brought:
            yield Polled(
                remembered(item.features, prefixes, self._zone, start, stop), [Document(DOCUMENT, item.content)]
            )

    def health(self) -> Mapping[str, Any]:
        """For people, without any request: what is left of the budget, until when the account is blocked, how the
        login went, the devices, and gateways that did not answer. As of the last poll."""
        return dict(self._health)

    def capabilities(self) -> dict[str, Capabilities]:
        """What each device of the last poll can tell, by gateway and device. Takes some 50 ms a device."""
        found = {}
        for item in self._brought:
            for device in sorted({str(entity.get("deviceId", "")) for entity in item.entities}):
                own = [entity for entity in item.entities if str(entity.get("deviceId", "")) == device]
                known = [
                    known for serial, known in self._devices if (serial, known.get("id")) == (item.gateway, device)
                ]
                found[f"{item.gateway}/{device}"] = capabilities(own, known[0] if known else None)
        return found

    async def close(self) -> None:
        """Close connections and the thread; may be called at any time, and twice."""
        await self._wire.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # ---- asking ----------------------------------------------------------------------------------------------------

    async def _within_time(self) -> list[_Brought]:
        limit = self._settings.timeout
        try:
            async with asyncio.timeout(limit / timedelta(seconds=1)):
                self._brought = await self._ask()
                return self._brought
        except TimeoutError:
            raise PollError(Outcome.timeout, f"Viessmann's cloud did not answer within {limit.seconds} s") from None
        finally:
            await self._wire.close()
            await asyncio.shield(self._look_after())

    async def _ask(self) -> list[_Brought]:
        loop = asyncio.get_running_loop()
        known = await self._oauth.remembered()
        manager = _Manager(self._oauth, loop, known.installations)
        running = loop.run_in_executor(self._thread, functools.partial(self._through_pyvicare, manager))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            manager.cancel()
            # Its request has ended as soon as the thread has; an import of PyViCare is not waited for.
            running.add_done_callback(_pass_over)
            await asyncio.wait({running}, timeout=1)
            raise
        finally:
            if manager.is_new:
                await self._oauth.keep_devices(manager.installations, self._settings.gateway or manager.first_gateway)
            elif manager.is_doubtful and (known.asked is None or self._now() - known.asked > _ASK_ANEW):
                await self._oauth.keep_devices(None)

    def _through_pyvicare(self, manager: _Manager) -> list[_Brought]:
        """In the thread: PyViCare asks for the gateways, unless they are known, and for the features of each."""
        from PyViCare.PyViCareService import ViCareService
        from PyViCare.PyViCareServiceViaGateway import ViCareServiceViaGateway

        targets = self._targets(manager)
        brought: list[_Brought] = []
        self._faults = {}
        for accessor, roles in targets:
            whole = self._settings.whole_gateway
            service = ViCareServiceViaGateway(manager) if whole else ViCareService(manager, roles)
            try:
                document = service.fetch_all_features(accessor)
            except PollError as error:
                self._faults[accessor.serial if whole else f"{accessor.serial}/{accessor.device_id}"] = error
                if error.outcome in _OF_THE_ACCOUNT:
                    raise
                if error.outcome is Outcome.unsupported:
                    manager.is_doubtful = True
                continue
            brought.append(self._taken(document, manager.content, accessor))
        if not brought:
            raise next(iter(self._faults.values()))
        return brought

    def _taken(self, document: dict[str, Any], content: bytes, accessor: Any) -> _Brought:
        serial = str(accessor.serial)
        entities = [entity for entity in document["data"] if isinstance(entity, Mapping)]
        # What the document leaves open is known from the question.
        entities = [
            {
                **entity,
                "gatewayId": serial,
                "deviceId": entity.get("deviceId")
                or _device_in(entity.get("uri"))
                or ("gateway" if self._settings.whole_gateway else str(accessor.device_id)),
            }
            for entity in entities
        ]
        return _Brought(serial, features_of({"data": entities}, self._now()), entities, content)

    def _targets(self, manager: _Manager) -> list[tuple[Any, Sequence[str]]]:
        from PyViCare.PyViCare import PyViCare

        library = PyViCare()
        library.setCacheDuration(0)
        try:
            library.initWithExternalOAuth(manager)
            devices: list[tuple[Any, Sequence[str]]] = [
                (config.accessor, list(config.roles)) for config in library.all_devices
            ]
        except (AttributeError, KeyError, TypeError, ValueError):
            manager.installations, manager.is_new, manager.is_doubtful = None, False, True
            raise PollError(Outcome.broken, "the cloud's list of gateways and devices cannot be understood") from None
        serials = list(dict.fromkeys(str(accessor.serial) for accessor, _ in devices))
        if not serials:
            manager.is_doubtful = True
            raise PollError(
                Outcome.unsupported,
                "the account has no gateway with a device",
                "Add the gateway to this account in the ViCare app",
            )
        wanted = self._settings.gateway
        if wanted is not None and wanted not in serials:
            manager.is_doubtful = True
            raise PollError(
                Outcome.unsupported, f"the account has no gateway {wanted}", f"Write one of: {', '.join(serials)}"
            )
        if not self._settings.whole_gateway:
            return devices
        first = {str(accessor.serial): (accessor, roles) for accessor, roles in reversed(devices)}
        return [first[serial] for serial in serials]

    # ---- what came -------------------------------------------------------------------------------------------------

    def _prefixes(self, brought: Sequence[_Brought], home: str) -> dict[tuple[str, str], str]:
        home = self._settings.gateway or home
        owners = {(feature.gateway, feature.device) for item in brought for feature in item.features}
        return {
            (gateway, device): ("" if gateway == home else f"{gateway}/")
            + ("" if device == MAIN_DEVICE else f"{device}/")
            for gateway, device in owners
        }

    async def _look_after(self) -> None:
        """Bring what `health` says up to date."""
        now = self._now()
        try:
            budgets, blocked = await asyncio.to_thread(lambda: (self._ledger.budget(now), self._ledger.blocked(now)))
            known = await self._oauth.remembered()
        except (OSError, PollError):
            return  # told by the poll itself
        self._devices = _devices_in(known.installations)
        self._health = {
            "budget": [
                {
                    "window": budget.window.name,
                    "limit": budget.window.limit,
                    "used": budget.used,
                    "left": budget.left,
                    "resets": budget.resets,
                }
                for budget in budgets
            ],
            "blocked_until": blocked[0] if blocked else None,
            "blocked_why": blocked[1] if blocked else None,
            "login": known.why or ("ok" if known.token else "not logged in yet"),
            "next_login_after": known.not_before,
            "devices": [
                f"{serial}/{device.get('id')} {device.get('modelId', '')}".strip() for serial, device in self._devices
            ],
            "faults": {name: str(fault) for name, fault in self._faults.items()},
            "newest": max((f.time for item in self._brought for f in item.features if f.time), default=None),
        }


class _Manager:
    """What PyViCare takes for its OAuth manager: `get` in its thread becomes a request in the loop.

    Args:
        installations: the answer about gateways and devices when it is known; then it costs no request.
    """

    def __init__(
        self, oauth: OAuthManager, loop: asyncio.AbstractEventLoop, installations: dict[str, Any] | None
    ) -> None:
        self._oauth = oauth
        self._loop = loop
        self._lock = threading.Lock()
        self._running: Future[tuple[dict[str, Any], bytes]] | None = None
        self._cancelled = False
        self.installations = installations
        self.is_new = False
        self.is_doubtful = False
        self.content = b""

    @property
    def first_gateway(self) -> str:
        """Serial number of the first gateway; empty when there is none."""
        return next((serial for serial, _ in _devices_in(self.installations)), "")

    def get(self, url: str) -> dict[str, Any]:
        """The document at an address of the cloud.

        Raises:
            PollError: every fault.
        """
        listing = url == _INSTALLATIONS
        if listing and self.installations is not None:
            return self.installations
        with self._lock:
            if self._cancelled:
                raise PollError(Outcome.timeout, "the poll has ended")
            asking = self._oauth.get(url, "devices" if listing else "features")
            self._running = asyncio.run_coroutine_threadsafe(asking, self._loop)
        document, self.content = self._running.result()
        if listing:
            self.installations, self.is_new = document, True
        return document

    def cancel(self) -> None:
        """End a request that still runs, and let no other begin."""
        with self._lock:
            self._cancelled = True
            if self._running is not None:
                self._running.cancel()


_ASK_ANEW = timedelta(hours=1)
"""Gateways and devices that are in doubt are asked for anew when they were asked for so long ago."""

_OF_THE_ACCOUNT = (Outcome.limited, Outcome.denied, Outcome.timeout, Outcome.refused, Outcome.error)
"""After these there is no use in asking for the next gateway."""


def _pass_over(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()  # of a poll that nobody waits for any more


def _machine_time() -> datetime:
    return datetime.now(UTC)


def _device_in(uri: object) -> str:
    match = re.search(r"/devices/([^/]+)/", uri) if isinstance(uri, str) else None
    return match[1] if match else ""


def _devices_in(installations: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """(serial number of the gateway, what the cloud says of the device) of each device."""
    try:
        return [
            (str(gateway["serial"]), dict(device))
            for installation in (installations or {}).get("data", ())
            for gateway in installation["gateways"]
            for device in gateway["devices"]
        ]
    except (KeyError, TypeError, ValueError):
        return []


def _identity(features: Sequence[Feature]) -> str:
    """Changes when a feature comes or goes, or a device tells another software or variant."""
    told = sorted(
        f"{feature.gateway} {feature.device} {feature.name}"
        + (str(feature.properties.get("value", {}).get("value")) if _SAYS_WHICH.search(feature.name) else "")
        for feature in features
    )
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


_SAYS_WHICH = re.compile(r"(version|variant|serial)$")
