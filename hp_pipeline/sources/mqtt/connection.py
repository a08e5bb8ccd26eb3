"""One connection to a broker: paho-mqtt's protocol machine on asyncio's event loop, without a thread of its own.

Only connecting (name, TCP, TLS) blocks; it is done in a daemon thread, which nothing waits for: neither a poll that
is cancelled nor the end of the process. Messages of QoS 1 are acknowledged by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from hp_pipeline.settings.sources import MqttSource
from hp_pipeline.sources.live import Outcome, PollError
from hp_pipeline.sources.mqtt.messages import LARGEST_PAYLOAD, Message
from hp_pipeline.sources.mqtt.redelivery import MOST_UNACKNOWLEDGED

log = logging.getLogger(__name__)

DENIED_WAIT: Final = timedelta(minutes=5)
"""A login that is wrong stays wrong: the broker is not asked again before."""
MOST_WAITING: Final = 2000
"""Messages that are read ahead; then the connection is left to fill, and the broker waits."""

_ENOUGH: Final = MOST_WAITING // 2
_CHECK_EVERY: Final = 1.0
_LONGEST_EXPIRY: Final = 0xFFFFFFFE
_LARGEST_PACKET: Final = LARGEST_PAYLOAD + 70_000


def utc_now() -> datetime:
    """What time it is, by this machine."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Refusal:
    outcome: Outcome
    what: str
    remedy: str
    wait: timedelta | None = None


_CREDENTIALS = _Refusal(
    Outcome.denied,
    "does not accept the user name and password",
    "Give `username` and `password` of a user whom the broker knows",
    DENIED_WAIT,
)
_REFUSALS: Final[dict[int, _Refusal]] = {
    132: _Refusal(Outcome.unsupported, "does not speak this version of MQTT", 'Set `version: "3.1.1"`', DENIED_WAIT),
    133: _Refusal(Outcome.denied, "does not accept the client id", "Give another `client_id`", DENIED_WAIT),
    134: _CREDENTIALS,
    135: _CREDENTIALS,
    136: _Refusal(Outcome.busy, "says that it is not available", ""),
    137: _Refusal(Outcome.busy, "says that it is busy", ""),
    138: _Refusal(Outcome.denied, "has banned this client", "Ask whoever keeps the broker", DENIED_WAIT),
    139: _Refusal(Outcome.refused, "is being shut down", ""),
    141: _Refusal(Outcome.timeout, "heard nothing from here for too long", ""),
    142: _Refusal(
        Outcome.error,
        "has another client of the same name",
        "Give each `client_id` to one client only",
        timedelta(minutes=1),
    ),
    151: _Refusal(Outcome.limited, "says that a quota is used up", "", timedelta(minutes=1)),
    152: _Refusal(Outcome.error, "has ended the session", "", timedelta(minutes=1)),
    159: _Refusal(Outcome.limited, "says that it is connected to too often", "", timedelta(minutes=1)),
}
"""Reason codes of MQTT 5, into which those of 3.1.1 are translated."""


def tls_context(settings: MqttSource, directory: Path | None) -> ssl.SSLContext:
    """TLS that trusts the authorities of the settings (or of the system) and checks the broker's name.

    Raises:
        PollError: a file of the settings cannot be used.
    """
    files = {
        key: None if value is None else (directory or Path()) / value
        for key in ("ca_file", "certificate_file", "key_file")
        for value in (getattr(settings, key),)
    }
    key = "ca_file"
    try:
        context = ssl.create_default_context(cafile=files[key])
        key = "certificate_file"
        if (certificate := files[key]) is not None:
            context.load_cert_chain(certificate, files["key_file"])
    except (OSError, ssl.SSLError) as error:
        raise PollError(
            Outcome.error,
            f"{key} of {settings.id} ({files[key]}) cannot be used: {error.strerror or error}",
            f"Set `{key}` to the path of a PEM file, relative to the settings file",
            wait=DENIED_WAIT,
        ) from None
    return context


class Connection:
    """A connection to the broker that the settings name. Used by one task.

    Args:
        settings: the source.
        directory: the folder that paths of the settings are relative to.
        now: what time it is (UTC).

    Attributes:
        lost: why there is no connection any more; None while there is one.
        opened: when it was made.
    """

    def __init__(
        self, settings: MqttSource, directory: Path | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._settings = settings
        self._now = now
        self._port = settings.port or (8883 if settings.tls else 1883)
        self._where = f"the MQTT broker at {settings.host}:{self._port}"
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._waiting: deque[Message] = deque()
        self._reading = False
        self._socket: Any = None
        self._greeted: asyncio.Future[bool] = self._loop.create_future()
        self._granted: dict[int, list[ReasonCode]] = {}
        self._closed = False
        self._checks: asyncio.TimerHandle | None = None
        self.lost: PollError | None = None
        self.opened = now()
        self._client = self._make_client(directory)

    def _make_client(self, directory: Path | None) -> Client:
        settings = self._settings
        newest = settings.version == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client,
            clean_session=None if newest else not settings.session_expiry,
            protocol=MQTTProtocolVersion.MQTTv5 if newest else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = settings.timeout.total_seconds()
        if settings.username is not None:
            password = settings.password.get_secret_value() if settings.password is not None else None
            client.username_pw_set(settings.username, password)
        if settings.tls:
            client.tls_set_context(tls_context(settings, directory))
        return client

    # ---- opening

    async def open(self) -> bool:
        """Connect. Returns whether the broker still had the session, with what was sent meanwhile.

        Raises:
            PollError: refused, timeout, denied, unsupported, busy, broken.
        """
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                await self._connected_in_a_thread()
                self._attach()
                return await self._greeted
        except TimeoutError:
            raise PollError(
                Outcome.timeout,
                f"{self._where} does not answer",
                "Is it an MQTT broker, and in the network?",
            ) from None

    async def _connected_in_a_thread(self) -> None:
        done: asyncio.Future[BaseException | None] = self._loop.create_future()

        def tell(error: BaseException | None) -> None:
            if not done.done():
                done.set_result(error)
            elif error is None:
                self._drop_socket()  # nobody waits for it any more

        def connect() -> None:
            error: BaseException | None = None
            try:
                self._client.connect(self._settings.host, self._port, **self._session())
            except BaseException as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(tell, error)

        threading.Thread(target=connect, name=f"mqtt {self._settings.id}", daemon=True).start()
        error = await done
        if error is not None:
            raise self._not_connected(error) from None

    def _session(self) -> dict[str, Any]:
        keep_alive = max(1, round(self._settings.keep_alive.total_seconds()))
        if self._settings.version != "5":
            return {"keepalive": keep_alive}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(round(self._settings.session_expiry.total_seconds()), _LONGEST_EXPIRY)
        properties.MaximumPacketSize = _LARGEST_PACKET
        properties.ReceiveMaximum = MOST_UNACKNOWLEDGED
        return {"keepalive": keep_alive, "clean_start": False, "properties": properties}

    def _not_connected(self, error: BaseException) -> PollError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return PollError(
                Outcome.refused,
                f"{self._where} shows a certificate that is not trusted ({error.verify_message})",
                "Set `ca_file` to the certificate of the authority that made it, and `host` to a name that it is for",
                wait=DENIED_WAIT,
            )
        if isinstance(error, ssl.SSLError):
            return PollError(
                Outcome.refused,
                f"{self._where} does not speak TLS as it should ({error.reason or 'no reason given'})",
                "Is it the port with TLS? Without TLS, set `tls: false`",
            )
        if isinstance(error, TimeoutError):
            return PollError(Outcome.timeout, f"{self._where} does not answer", "Is it on, and in the network?")
        if isinstance(error, OSError):
            return PollError(
                Outcome.refused,
                f"{self._where} cannot be reached ({error.strerror or error})",
                "Is the broker running, and are `host` and `port` right?",
            )
        return PollError(Outcome.error, f"{self._where} cannot be connected to ({type(error).__name__})")

    def _attach(self) -> None:
        self._socket = self._client.socket()
        if self._socket is None:
            self._lose(PollError(Outcome.refused, f"{self._where} closed the connection"))
            return
        # Only now: whatever happened while connecting happened in the other thread.
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_register_write
        self._client.on_socket_unregister_write = self._on_unregister_write
        self._read_on()
        if self._client.want_write():
            self._on_register_write(self._client, None, self._socket)
        self._check()

    # ---- what the connection is used for

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> list[str]:
        """Subscribe; retained messages come then. Returns the filters that the broker does not allow.

        Raises:
            PollError: the connection is lost, or nothing is allowed.
        """
        if not filters:
            return []
        result, number = self._client.subscribe(list(filters))
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or number is None:
            raise self.lost or PollError(Outcome.broken, f"{self._where}: subscribing failed ({result.name})")
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                while number not in self._granted and self.lost is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise PollError(Outcome.timeout, f"{self._where} does not answer to a subscription") from None
        if number not in self._granted:
            raise self._lost()
        codes = self._granted.pop(number)
        refused = [topic for (topic, _), code in zip(filters, codes, strict=False) if code.is_failure]
        if len(refused) == len(filters):
            raise PollError(
                Outcome.denied,
                f"{self._where} does not let this user read {', '.join(refused)}",
                "Allow it in the broker's access list, or give another user",
                wait=DENIED_WAIT,
            )
        return refused

    async def wait(self, seconds: float) -> None:
        """Wait until there is something new (a message, the end of the connection), or that long."""
        self._news.clear()
        if self.lost is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def peek(self) -> Sequence[Message]:
        """The messages that wait, the oldest first."""
        return self._waiting

    def take(self, count: int) -> list[Message]:
        """Take the oldest messages away; they have to be acknowledged."""
        taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        if len(self._waiting) <= _ENOUGH:
            self._read_on()
        return taken

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that it may forget these messages."""
        for message in messages:
            if message.qos > 0 and self.lost is None:
                self._client.ack(message.number, message.qos)

    def close(self) -> None:
        """End the connection in order; the broker keeps the session."""
        self._closed = True
        if self.lost is None and self._socket is not None:
            with contextlib.suppress(Exception):
                self._client.disconnect()
                self._client.loop_write()
        self._drop_socket()
        self._lose(PollError(Outcome.refused, f"the connection to {self._where} was closed"))

    # ---- the event loop

    def _read_on(self) -> None:
        if not self._reading and self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._readable)
            self._reading = True
            # What TLS has decrypted already makes no socket readable.
            self._loop.call_soon(self._readable)

    def _pause(self) -> None:
        if self._reading and self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False

    def _readable(self) -> None:
        while self._reading and self._socket is not None:
            self._guarded(self._client.loop_read)
            if len(self._waiting) >= MOST_WAITING:
                self._pause()
            if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                return

    def _writable(self) -> None:
        self._guarded(self._client.loop_write)

    def _check(self) -> None:
        if self._socket is not None and self.lost is None:
            self._guarded(self._client.loop_misc)
            self._checks = self._loop.call_later(_CHECK_EVERY, self._check)

    def _guarded(self, step: Any) -> None:
        """Whatever the other side sends, it costs this connection at most."""
        try:
            step()
        except Exception as error:
            log.debug("%s: %s", self._where, error)
            self._drop_socket()
            self._lose(PollError(Outcome.broken, f"{self._where} does not speak MQTT as it should"))

    def _drop_socket(self) -> None:
        socket = self._client.socket() or self._socket
        if socket is not None:
            self._detach(socket)
            with contextlib.suppress(OSError):
                socket.close()

    def _detach(self, socket: Any) -> None:
        if self._checks is not None:
            self._checks.cancel()
        if socket.fileno() >= 0:
            self._loop.remove_reader(socket.fileno())
            self._loop.remove_writer(socket.fileno())
        self._reading = False
        self._socket = None

    def _on_socket_close(self, _client: Client, _data: Any, socket: Any) -> None:
        self._detach(socket)

    def _on_register_write(self, _client: Client, _data: Any, socket: Any) -> None:
        if self._socket is not None:
            self._loop.add_writer(socket.fileno(), self._writable)

    def _on_unregister_write(self, _client: Client, _data: Any, socket: Any) -> None:
        if socket.fileno() >= 0:
            self._loop.remove_writer(socket.fileno())

    # ---- what the broker says

    def _on_connect(self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, _more: Any) -> None:
        if reason.is_failure:
            self._lose(self._refusal(reason))
        elif not self._greeted.done():
            self._greeted.set_result(flags.session_present)

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, _more: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server and reason.value in _REFUSALS:
            self._lose(self._refusal(reason))
        elif reason.value in (129, 130):
            self._lose(PollError(Outcome.broken, f"{self._where} does not speak MQTT as it should"))
        elif not self._greeted.done():
            self._lose(
                PollError(
                    Outcome.broken,
                    f"{self._where} closed the connection instead of a greeting",
                    'Is it the port of MQTT (with `tls: true` where it is TLS), and does it speak `version: "5"`?',
                )
            )
        elif reason.value == 141:
            self._lose(PollError(Outcome.timeout, f"{self._where} does not answer any more"))
        else:
            self._lose(
                PollError(
                    Outcome.refused,
                    f"{self._where} closed the connection",
                    "If it does so again and again: does another client have the same `client_id`?",
                )
            )

    def _refusal(self, reason: ReasonCode) -> PollError:
        known = _REFUSALS.get(reason.value)
        if known is None:
            return PollError(Outcome.error, f"{self._where} refuses: {reason}")
        return PollError(known.outcome, f"{self._where} {known.what}", known.remedy, wait=known.wait)

    def _on_subscribe(self, _client: Client, _data: Any, number: int, codes: list[ReasonCode], _more: Any) -> None:
        self._granted[number] = codes
        self._news.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._waiting.append(
            Message(
                topic,
                bytes(message.payload),
                self._now(),
                message.qos,
                bool(message.retain),
                bool(message.dup),
                message.mid,
            )
        )
        self._news.set()

    def _lost(self) -> PollError:
        return self.lost or PollError(Outcome.refused, f"the connection to {self._where} is lost")

    def _lose(self, error: PollError) -> None:
        if self.lost is None:
            self.lost = error
        if not self._greeted.done():
            if self._closed:
                self._greeted.cancel()
            else:
                self._greeted.set_exception(self.lost)
        self._news.set()
