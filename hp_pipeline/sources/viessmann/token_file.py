"""What is remembered of an account between starts: its token, how logging in went, and its devices. Mode 600, JSON.

Written beside and renamed over, so that a reader sees the old or the new file, and the newest refresh token is never
lost by a process that is killed. Writers take turns by a lock file.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hp_pipeline.durability import sync_directory
from hp_pipeline.sources.live import Outcome, PollError


@dataclass(frozen=True, slots=True)
class Token:
    """What the cloud gave at a login. Neither part is ever shown."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires: datetime


@dataclass(slots=True)
class Remembered:
    """The content of the file.

    Attributes:
        token: the newest one.
        attempts: logins and refreshes since one of them last led to an answer.
        not_before: no further one before this.
        outcome, why: how the last attempt ended, for people; empty when it led to an answer.
        credentials: what the owner wrote, as a hash: other credentials start afresh.
        installations: the cloud's answer about gateways and devices.
        asked: when it was given.
        home: serial number of the gateway whose points have no prefix.
    """

    token: Token | None = None
    attempts: int = 0
    not_before: datetime | None = None
    outcome: str = ""
    why: str = ""
    credentials: str = ""
    installations: dict[str, Any] | None = None
    asked: datetime | None = None
    home: str = ""


class TokenFile:
    """Reads and writes it. Every method is for a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Remembered:
        """What is remembered; nothing when there is no file, or one that cannot be understood."""
        try:
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)
            raw = json.loads(self.path.read_text(encoding="utf-8"))
            token = raw["token"]
            return Remembered(
                token=None
                if token is None
                else Token(str(token["access_token"]), token["refresh_token"], _time(token["expires_at"])),
                attempts=int(raw["attempts"]),
                not_before=None if raw["not_before"] is None else _time(raw["not_before"]),
                outcome=Outcome(raw["outcome"]) if raw["outcome"] else "",
                why=str(raw["why"]),
                credentials=str(raw["credentials"]),
                installations=raw["installations"] if isinstance(raw["installations"], dict) else None,
                asked=None if raw["asked"] is None else _time(raw["asked"]),
                home=str(raw["home"]),
            )
        except FileNotFoundError:
            return Remembered()
        except OSError as error:
            raise self._problem("read", error) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            # Cut off by hand or by a full disk: logging in again is all that it costs.
            return Remembered()

    def write(self, remembered: Remembered) -> None:
        """Replace the file, durably.

        Raises:
            PollError: it cannot be written; the old one is untouched.
        """
        token = remembered.token
        raw = {
            "token": None
            if token is None
            else {
                "access_token": token.access,
                "refresh_token": token.refresh,
                "expires_at": token.expires.isoformat(),
            },
            "attempts": remembered.attempts,
            "not_before": None if remembered.not_before is None else remembered.not_before.isoformat(),
            "outcome": str(remembered.outcome),
            "why": remembered.why,
            "credentials": remembered.credentials,
            "installations": remembered.installations,
            "asked": None if remembered.asked is None else remembered.asked.isoformat(),
            "home": remembered.home,
        }
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(raw, file)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self.path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            sync_directory(self.path.parent)
        except OSError as error:
            raise self._problem("write", error) from None

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other process renews the token, and keep others waiting inside."""
        import fcntl

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._problem("write", error) from None
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    def _problem(self, doing: str, error: OSError) -> PollError:
        return PollError(
            Outcome.error,
            f"cannot {doing} {self.path}, where the login is kept ({error.strerror})",
            "Give this user the right to that folder, and room on its disk",
        )


def fingerprint(known: str, *credentials: str | None) -> str:
    """A hash of the credentials; `known` when it is theirs already. Slow on purpose, so that it cannot be guessed."""

    def hashed(salt: str) -> str:
        text = json.dumps(credentials).encode()
        return f"{salt}:{hashlib.scrypt(text, salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=16).hex()}"

    salt = known.partition(":")[0]
    try:
        if known and hashed(salt) == known:
            return known
    except ValueError:
        pass
    return hashed(secrets.token_hex(16))


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
