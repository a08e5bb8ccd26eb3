"""What an answer of the cloud means: a document, a token that is not accepted, or which fault.

Nothing of a fault's own words is repeated but the cloud's short codes, since an answer may echo what was sent.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from hp_pipeline.sources.live import Outcome, PollError
from hp_pipeline.sources.viessmann.wire import Answer

LONGEST_BLOCK = timedelta(hours=48)
"""A `limitReset` that is further away is not believed."""


class TokenRefusedError(Exception):
    """The cloud does not accept the access token (any more)."""


class LimitedError(PollError):
    """429.

    Attributes:
        until: when the window ends, as the cloud says; None when it does not say.
    """

    def __init__(self, what: str, until: datetime | None) -> None:
        super().__init__(
            Outcome.limited, what, "It goes on by itself. The ViCare app and other clients of the account count as well"
        )
        self.until = until


def read_json(answer: Answer) -> Any:
    """The JSON of an answer.

    Raises:
        PollError: it is something else (`broken`).
    """

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(answer.body, parse_constant=refuse)
    except (ValueError, RecursionError):
        kind = "HTML" if b"<html" in answer.body[:2000].lower() or _is_html(answer) else "something that is not JSON"
        raise PollError(Outcome.broken, f"{answer.host} answers with {kind} (status {answer.status})") from None


def read_features(answer: Answer, now: datetime) -> dict[str, Any]:
    """The document of a good answer: a mapping with the list `data`.

    Raises:
        TokenRefusedError: log in anew.
        PollError: any fault, each with its own outcome.
    """
    host, status = answer.host, answer.status
    if status == 429:
        raise LimitedError(f"{host} allows no more calls", _limit_reset(answer, now))
    if status >= 500:
        raise PollError(Outcome.busy, f"{host} has a fault of its own (status {status})")
    if 300 <= status < 400:
        raise PollError(Outcome.broken, f"{host} sends elsewhere (status {status})", "Check base_url and login_url")
    try:
        document = read_json(answer)
    except PollError:
        if status == 401:
            raise TokenRefusedError from None
        raise
    if not isinstance(document, dict):
        raise PollError(Outcome.broken, f"{host} answers with something that is not a document (status {status})")
    if status == 401 or document.get("error") in ("EXPIRED TOKEN", "INVALID TOKEN"):
        raise TokenRefusedError
    _refuse_faults(document, host, status, answer, now)
    if not isinstance(document.get("data"), list):
        raise PollError(Outcome.broken, f"{host} answers without data (status {status})")
    return document


def _refuse_faults(document: dict[str, Any], host: str, status: int, answer: Answer, now: datetime) -> None:
    payload = document.get("extendedPayload")
    payload = payload if isinstance(payload, dict) else {}
    kind = _code(document.get("errorType"))
    reason = _code(payload.get("reason"))
    told = document.get("statusCode")
    if told == 429 or kind == "RATE_LIMIT_EXCEEDED":
        raise LimitedError(f"{host} allows no more calls", _limit_reset(answer, now))
    if kind == "DEVICE_COMMUNICATION_ERROR" or reason in ("DEVICE_OFFLINE", "GATEWAY_OFFLINE"):
        behind = "gateway" if reason == "GATEWAY_OFFLINE" else "device"
        raise PollError(
            Outcome.offline,
            f"the {behind} does not speak to Viessmann's cloud ({reason or kind})",
            "Check its power and its WLAN",
        )
    if kind == "PACKAGE_NOT_PAID_FOR":
        raise PollError(Outcome.unsupported, "the account's plan does not include these data", "Change the plan")
    if (isinstance(told, int) and told >= 500) or str(payload.get("code")) in ("500", "502", "503"):
        raise PollError(Outcome.busy, f"{host} has a fault of its own ({kind or told})")
    if status == 403:
        raise PollError(
            Outcome.denied, f"the account may not read this ({kind or status})", "Check the account's rights and plan"
        )
    if status == 404:
        raise PollError(Outcome.unsupported, f"{host} does not know this gateway or device ({kind or status})")
    if status >= 400 or kind:
        raise PollError(Outcome.error, f"{host} refuses ({kind or 'no reason given'}, status {status})")


def _limit_reset(answer: Answer, now: datetime) -> datetime | None:
    """When the cloud says that calls are allowed again (`limitReset` in ms since 1970, or `Retry-After` in s)."""
    try:
        reset = json.loads(answer.body)["extendedPayload"]["limitReset"]
        until = datetime.fromtimestamp(reset / 1000, UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        try:
            seconds = float(answer.headers.get("retry-after", ""))
        except ValueError:
            return None
        if not math.isfinite(seconds) or seconds > LONGEST_BLOCK.total_seconds():
            return None
        until = now + timedelta(seconds=seconds)
    return until if now < until <= now + LONGEST_BLOCK else None


def _is_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "")


def _code(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z0-9_]{1,60}", value) else ""
