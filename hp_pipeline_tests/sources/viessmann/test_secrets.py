"""No token, password, code or client ID is in a log, an error, a representation or a document, whatever goes wrong."""

from __future__ import annotations

import base64
import logging
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hp_pipeline.landing.store import Landing
from hp_pipeline.settings.model import EnvironmentText
from hp_pipeline.simulation.devices.viessmann import FAULTS, Place, ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import PollError
from hp_pipeline.sources.viessmann import ViessmannCloud
from hp_pipeline_tests.sources.viessmann.conftest import MORNING, Account

MARK = "Zq7"
"""No word of any message has it, so that a piece of a secret cannot be there by chance."""

ODD = st.text(st.sampled_from("abz059-_.~:;#'\"{}[]()|<>&*!%@`\\/$?=^+,äß€"), max_size=10)
SECRETS = st.builds(lambda before, after: f"{MARK}{before}{MARK}{after}", ODD, ODD)
TOKENS = st.builds(
    lambda before, after: f"{MARK}{before}{MARK}{after}",
    st.text(st.sampled_from("abz059-_.~+/=:{}\"'%"), max_size=10),
    st.text(st.sampled_from("abz059-_.~+/="), max_size=10),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    client_id=SECRETS,
    password=SECRETS,
    tokens=st.lists(TOKENS, min_size=30, max_size=30, unique=True),
    fault=st.sampled_from([name for name in FAULTS if name not in ("stall", "trickle")]),
    place=st.sampled_from(["authorize", "token", "devices", "features"]),
    right=st.booleans(),
)
def test_nothing_secret_is_ever_said(
    client_id: str,
    password: str,
    tokens: list[str],
    fault: str,
    place: Place,
    right: bool,
    house: House,
    caplog: pytest.LogCaptureFixture,
) -> None:
    given_out = iter(tokens)
    said: list[str] = []
    caplog.clear()
    with (
        pytest.MonkeyPatch.context() as patch,
        caplog.at_level(logging.NOTSET),
        TemporaryDirectory() as folder,
        ViessmannCloudServer(house, Clock(MORNING, 0), client_id=client_id, password=password) as cloud,
    ):
        patch.setattr(
            "hp_pipeline.simulation.devices.viessmann.secrets.token_urlsafe", lambda size: next(given_out) + str(size)
        )
        account = Account(
            Path(folder),
            cloud,
            client_id=EnvironmentText(client_id),
            password=EnvironmentText(password if right else f"{password}x"),
        )
        cloud.inject(fault, place=place)

        async def again(source: ViessmannCloud) -> object:
            cloud.revoke()
            return await source.poll()

        async def shown(source: ViessmannCloud) -> object:
            said.append(repr(source) + repr(source.health()) + repr(vars(source)))
            return None

        for result in account.run(ViessmannCloud.poll, again, shown):
            if isinstance(result, PollError):
                said.extend([str(result), repr(result), repr(result.args), *traceback.format_exception(result)])
            elif result is not None:
                said.append(repr(result))
        rows = account.landing.rows("SELECT * FROM calls") + account.landing.rows("SELECT * FROM call_blocks")
        said.append(repr(rows))
        account.landing.close()
    said.extend(record.getMessage() + str(record.__dict__) for record in caplog.records)
    everything = "\n".join(said)
    assert MARK not in everything
    login = base64.b64encode(f"me@example.org:{password}".encode()).decode()
    for secret in (
        login,
        quote(client_id, safe=""),
        quote_plus(client_id),
        client_id.encode("unicode_escape").decode(),
    ):
        assert secret not in everything


def test_what_httpcore_says_of_other_requests_stays(caplog: pytest.LogCaptureFixture, account: Account) -> None:
    account.poll()
    with caplog.at_level(logging.DEBUG, logger="httpcore.http11"):
        logging.getLogger("httpcore.http11").debug("another source speaks")
    assert "another source speaks" in caplog.text


def test_the_landing_and_the_state_hold_no_token(account: Account, tmp_path: Path) -> None:
    account.poll()
    assert isinstance(account.landing, Landing)
    for path in tmp_path.iterdir():
        if path != account.token_file:
            assert b"access-" not in path.read_bytes() and b"refresh-" not in path.read_bytes(), path
