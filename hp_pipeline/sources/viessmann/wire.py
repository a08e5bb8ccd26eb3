"""The wire to the cloud: no request leaves that was not counted before, and none of them is ever logged.

Requests go straight to httpx's transport. Its client would log every address (the client ID is in that of the login),
follow redirects and retry; what httpcore says at DEBUG (headers, the login's code) is silenced for these requests only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from hp_pipeline.sources.budget import BudgetSpentError, CallLedger
from hp_pipeline.sources.live import Outcome, PollError

if TYPE_CHECKING:
    import ssl

    import httpx

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes. A whole gateway with many devices is below 2 MB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: the HTTP status.
        headers: names in lower case. May hold the login's code: never shown.
        body: decoded (gzip); may hold tokens: never shown.
        host: who answered, for people.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    host: str = ""


class Wire:
    """Sends requests of one account.

    Args:
        ledger: counts them.
        now: the time, with zone.
    """

    def __init__(self, ledger: CallLedger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._tls: ssl.SSLContext | None = None

    async def send(
        self,
        what: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Count one request, send it, and read the whole answer.

        Args:
            what: which call it is, for the ledger and for people (no secret).
            form: fields of a form to be posted.

        Raises:
            PollError: no budget (`limited`), no connection (`refused`), closed early or garbage (`broken`).
        """
        import httpx

        _silence()
        try:
            await asyncio.to_thread(self._ledger.take, what, self._now())
        except BudgetSpentError as spent:
            raise PollError(
                Outcome.limited,
                f"the budget of calls is used up until {spent.until:%Y-%m-%d %H:%M:%S} UTC: {spent.why}",
                "It goes on by itself then. Ask less often (every), or have the account's plan raised (calls_per_day)",
                wait=max(spent.until - self._now(), _NOTHING),
            ) from None
        except OSError as error:
            raise PollError(Outcome.error, f"a call that cannot be counted is not made: {error}") from None
        request = httpx.Request(
            method,
            url,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "hp_pipeline", **headers},
            data=None if form is None else dict(form),
        )
        host = request.url.netloc.decode("ascii", "replace")
        private = _private.set(True)
        try:
            transport = await self._opened(request.url.scheme)
            response = await transport.handle_async_request(request)
            try:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_ANSWER:
                        raise PollError(Outcome.broken, f"{host} answers without end ({what})")
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise PollError(
                Outcome.refused,
                f"no connection to {host} ({what})",
                "Check this machine's way to the internet, its clock and its certificates",
            ) from None
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
            raise PollError(
                Outcome.broken, f"{host} broke off in the middle of its answer ({what}: {type(error).__name__})"
            ) from None
        finally:
            _private.reset(private)
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, names, bytes(body), host)

    def block(self, until: datetime, why: str) -> None:
        """Send nothing before a time."""
        self._ledger.block(until, why)

    async def close(self) -> None:
        """Close the connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            private = _private.set(True)
            try:
                await transport.aclose()
            finally:
                _private.reset(private)

    async def _opened(self, scheme: str) -> httpx.AsyncHTTPTransport:
        import httpx

        if scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        if self._transport is None:
            self._transport = httpx.AsyncHTTPTransport(verify=self._tls or False, retries=0)
        return self._transport


_NOTHING = datetime.min - datetime.min
_private: ContextVar[bool] = ContextVar("viessmann_request", default=False)


def _may_be_logged(record: logging.LogRecord) -> bool:
    return not _private.get()


def _silence() -> None:
    for name in ("connection", "http11", "http2", "proxy", "socks", "connection_pool"):
        logger = logging.getLogger(f"httpcore.{name}")
        if _may_be_logged not in logger.filters:
            logger.addFilter(_may_be_logged)
