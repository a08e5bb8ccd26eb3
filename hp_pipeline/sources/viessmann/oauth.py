"""The OAuth manager: logs in as PyViCare does (PKCE, the code in the redirect), keeps the token, renews it with care.

Every attempt to log in or to refresh is written down before it is made, and the next one has to wait, longer each
time, until an attempt has led to an answer: not even a process that dies and is started again in a loop can storm the
login, which blocks the account.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from hp_pipeline.settings import ViessmannSource
from hp_pipeline.sources.live import Outcome, PollError
from hp_pipeline.sources.viessmann.answers import LimitedError, TokenRefusedError, read_features, read_json
from hp_pipeline.sources.viessmann.token_file import Remembered, Token, TokenFile, fingerprint
from hp_pipeline.sources.viessmann.wire import Answer, Wire

SCOPE = "IoT User offline_access"
"""`offline_access` asks for a refresh token: one request an hour instead of two, and no password on the wire."""

EARLY = timedelta(seconds=90)
"""A token is renewed so long before it expires, or a tenth of its life."""

LIFETIME = timedelta(seconds=3600)
"""Of an access token that does not say so."""

_FIRST_BLOCK = timedelta(minutes=10)
_CHECK_LOGIN = "Check username, password (or refresh_token), client_id and redirect_uri"


class OAuthManager:
    """The account's session with the cloud.

    Args:
        settings: the source.
        wire: sends and counts.
        file: where the token lies.
        now: the time, with zone.
    """

    def __init__(self, settings: ViessmannSource, wire: Wire, file: TokenFile, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._wire = wire
        self._file = file
        self._now = now
        self._remembered: Remembered | None = None
        self._credentials: str | None = None
        self._limits_in_a_row = 0

    async def get(self, path: str, what: str) -> tuple[dict[str, Any], bytes]:
        """One document of the cloud, and its bytes. One request, unless the token has to be renewed.

        Raises:
            PollError: every fault, each with its own outcome.
        """
        token = await self._usable_token()
        answer = await self._ask(path, token, what)
        try:
            document = await self._read(answer)
        except TokenRefusedError:
            token = await self._renewed(token)
            answer = await self._ask(path, token, what)
            try:
                document = await self._read(answer)
            except TokenRefusedError:
                raise await self._in_vain() from None
        await self._worked(token)
        return document, answer.body

    async def remembered(self) -> Remembered:
        """What is remembered of the account; afresh when the owner has written other credentials."""
        if self._remembered is None:
            self._remembered = await asyncio.to_thread(self._load)
        return self._remembered

    async def keep_devices(self, installations: dict[str, Any] | None, home: str = "") -> None:
        """Remember gateways and devices, or forget them; the gateway whose points have no prefix stays the first."""
        async with self._file.turn():
            remembered = await asyncio.to_thread(self._load)
            remembered.installations, remembered.asked = installations, self._now()
            remembered.home = remembered.home or home
            await self._write(remembered)

    # ---- tokens ----------------------------------------------------------------------------------------------------

    def _load(self) -> Remembered:
        remembered = self._file.read()
        if self._credentials is None or remembered.credentials != self._credentials:
            settings = self._settings
            secret = settings.password or settings.refresh_token
            self._credentials = fingerprint(
                remembered.credentials,
                settings.client_id.get_secret_value(),
                settings.username,
                secret.get_secret_value() if secret else None,
                settings.login_url,
            )
        return remembered if remembered.credentials == self._credentials else Remembered(credentials=self._credentials)

    async def _write(self, remembered: Remembered) -> None:
        # A refresh token that is not written is lost: what has begun is finished, also when the poll is cancelled.
        self._remembered = remembered
        await asyncio.shield(asyncio.to_thread(self._file.write, remembered))

    async def _usable_token(self) -> Token:
        token = (await self.remembered()).token
        if token is None or self._now() >= token.expires:
            return await self._renewed(token)
        return token

    async def _renewed(self, old: Token | None) -> Token:
        """A token other than `old`: one that another process has got, else by refreshing, else by logging in."""
        async with self._file.turn():
            self._remembered = remembered = await asyncio.to_thread(self._load)
            token = remembered.token
            if token and (old is None or token.access != old.access) and self._now() < token.expires:
                return token
            self._refuse_too_early(remembered)
            remembered.attempts += 1
            begun = "it was begun and not finished"
            await self._note(remembered, Outcome.error, begun, _pause(Outcome.error, remembered.attempts))
            try:
                remembered.token = await self._obtain(remembered)
            except PollError as error:
                pause = _pause(error.outcome, remembered.attempts)
                await self._note(remembered, error.outcome, error.what, pause)
                error.wait = max(error.wait or pause, pause)
                raise
            except asyncio.CancelledError:
                await self._note(remembered, Outcome.timeout, "it took too long", _pause(Outcome.timeout, 1))
                raise
            await self._write(remembered)
            return remembered.token

    async def _obtain(self, remembered: Remembered) -> Token:
        settings = self._settings
        seed = settings.refresh_token.get_secret_value() if settings.refresh_token else None
        refresh = remembered.token.refresh if remembered.token else seed
        if refresh:
            try:
                return await self._refresh(refresh)
            except PollError as error:
                if error.outcome is not Outcome.denied:
                    raise
                if seed is not None and seed != refresh:
                    return await self._refresh(seed)
                if settings.password is None:
                    raise
        if settings.password is None:
            raise PollError(
                Outcome.denied, "there is no refresh token", "Write refresh_token, or username and password"
            )
        return await self._log_in()

    async def _refresh(self, refresh: str) -> Token:
        answer = await self._wire.send(
            "refresh",
            "POST",
            f"{self._settings.login_url}/token",
            headers={},
            form={
                "grant_type": "refresh_token",
                "client_id": self._settings.client_id.get_secret_value(),
                "refresh_token": refresh,
            },
        )
        return await self._token_of(answer, "the refresh token", refresh)

    async def _log_in(self) -> Token:
        settings = self._settings
        assert settings.password is not None
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        client_id = settings.client_id.get_secret_value()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": client_id,
                "redirect_uri": settings.redirect_uri,
                "scope": SCOPE,
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        login = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        answer = await self._wire.send(
            "login",
            "POST",
            f"{settings.login_url}/authorize?{query}",
            headers={
                "Authorization": f"Basic {base64.b64encode(login).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        await self._refuse_login_faults(answer)
        if answer.status == 401:
            raise PollError(Outcome.denied, f"{answer.host} refuses the user name or the password", _CHECK_LOGIN)
        told = parse_qs(urlsplit(answer.headers.get("location", "")).query)
        code = told.get("code", [""])[0]
        if not 300 <= answer.status < 400 or not code:
            raise PollError(Outcome.denied, f"{answer.host} does not let this client in", _CHECK_LOGIN)
        if not secrets.compare_digest(told.get("state", [""])[0].encode(), state.encode()):
            raise PollError(Outcome.broken, f"{answer.host} answers another login than ours")
        answer = await self._wire.send(
            "token",
            "POST",
            f"{settings.login_url}/token",
            headers={},
            form={
                "grant_type": "authorization_code",
                "client_id": client_id,
                "redirect_uri": settings.redirect_uri,
                "code": code,
                "code_verifier": verifier,
            },
        )
        return await self._token_of(answer, "the login", None)

    async def _token_of(self, answer: Answer, what: str, old_refresh: str | None) -> Token:
        await self._refuse_login_faults(answer)
        if 400 <= answer.status < 500:
            raise PollError(Outcome.denied, f"{answer.host} does not accept {what}", _CHECK_LOGIN)
        told = read_json(answer)
        access = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(access, str) or not access or not access.isascii() or not access.isprintable():
            raise PollError(Outcome.broken, f"{answer.host} answers {what} without a token")
        refresh = told.get("refresh_token")
        seconds = told.get("expires_in")
        lifetime = timedelta(seconds=min(seconds, 10**7)) if type(seconds) in (int, float) and seconds > 0 else LIFETIME
        expires = self._now() + lifetime - min(EARLY, lifetime / 10)
        return Token(access, refresh if isinstance(refresh, str) and refresh else old_refresh, expires)

    async def _refuse_login_faults(self, answer: Answer) -> None:
        if answer.status == 429:
            try:
                read_features(answer, self._now())
            except LimitedError as limited:
                raise await self._blocked(limited) from None
        if answer.status >= 500:
            raise PollError(Outcome.busy, f"{answer.host} has a fault of its own (status {answer.status})")

    # ---- what is kept of faults ------------------------------------------------------------------------------------

    async def _ask(self, path: str, token: Token, what: str) -> Answer:
        return await self._wire.send(
            what, "GET", f"{self._settings.base_url}{path}", headers={"Authorization": f"Bearer {token.access}"}
        )

    async def _read(self, answer: Answer) -> dict[str, Any]:
        try:
            document = read_features(answer, self._now())
        except LimitedError as limited:
            raise await self._blocked(limited) from None
        self._limits_in_a_row = 0
        return document

    async def _blocked(self, limited: LimitedError) -> LimitedError:
        """Block the account until the cloud's own time, else for longer each time."""
        now = self._now()
        until = limited.until or now + min(_FIRST_BLOCK * 2**self._limits_in_a_row, timedelta(hours=6))
        self._limits_in_a_row += 1
        said = "the cloud said so" if limited.until else "the cloud did not say until when"
        await asyncio.to_thread(
            self._wire.block, until, f"the cloud allowed no more calls at {now:%H:%M:%S} UTC ({said})"
        )
        limited.wait = until - now
        return limited

    def _refuse_too_early(self, remembered: Remembered) -> None:
        # A pause that is longer than any is one of a clock that was wrong.
        if remembered.not_before is None or not _NONE < remembered.not_before - self._now() <= _LONGEST_PAUSE:
            return
        raise PollError(
            Outcome(remembered.outcome or Outcome.error),
            f"the last login did not lead to an answer ({remembered.why}), and the next one is made "
            f"after {remembered.not_before:%Y-%m-%d %H:%M:%S} UTC",
            _CHECK_LOGIN if remembered.outcome == Outcome.denied else "",
            wait=remembered.not_before - self._now(),
        )

    async def _in_vain(self) -> PollError:
        what = "the cloud does not accept a token that it has just given"
        async with self._file.turn():
            remembered = await asyncio.to_thread(self._load)
            pause = _pause(Outcome.denied, max(remembered.attempts, 1))
            await self._note(remembered, Outcome.denied, what, pause)
        return PollError(Outcome.denied, what, _CHECK_LOGIN, wait=pause)

    async def _note(self, remembered: Remembered, outcome: Outcome, why: str, pause: timedelta) -> None:
        remembered.outcome, remembered.why, remembered.not_before = outcome, why, self._now() + pause
        await self._write(remembered)

    async def _worked(self, token: Token) -> None:
        if not (await self.remembered()).attempts:
            return
        async with self._file.turn():
            remembered = await asyncio.to_thread(self._load)
            if remembered.token == token:
                remembered.attempts, remembered.not_before, remembered.outcome, remembered.why = 0, None, "", ""
                await self._write(remembered)


_NONE = timedelta(0)
_LONGEST_PAUSE = timedelta(days=1)


def _pause(outcome: Outcome, attempts: int) -> timedelta:
    """How long to wait after so many attempts without an answer: credentials do not become right by themselves."""
    steps = min(attempts - 1, 10)
    if outcome is Outcome.denied:
        return min(timedelta(minutes=15 * 4**steps), _LONGEST_PAUSE)
    return min(timedelta(minutes=2**steps), timedelta(hours=1))
