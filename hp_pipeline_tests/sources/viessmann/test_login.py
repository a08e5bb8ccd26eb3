"""The login: PKCE, a token that is kept and renewed with care, and no storm whatever goes wrong."""

import json
import stat
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path

import pytest

from hp_pipeline.settings.model import EnvironmentText
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.viessmann import ViessmannCloud
from hp_pipeline_tests.sources.viessmann.conftest import Account

Step = Callable[[ViessmannCloud], Coroutine[object, object, Polled]]


def kept(account: Account) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(account.token_file.read_text())
    return loaded


@pytest.fixture
def poll_later(clock: Clock) -> Step:
    """A poll five minutes after the one before."""

    async def later(source: ViessmannCloud) -> Polled:
        clock.move(timedelta(minutes=5))
        return await source.poll()

    return later


def test_the_token_is_kept_for_the_owner_alone(account: Account) -> None:
    account.poll()
    assert stat.S_IMODE(account.token_file.stat().st_mode) == 0o600
    assert kept(account)["attempts"] == 0
    account.token_file.chmod(0o644)
    account.poll()
    assert stat.S_IMODE(account.token_file.stat().st_mode) == 0o600
    assert [path.name for path in account.folder.iterdir() if path.name.startswith(".viessmann_viessmann.json.")] == [
        ".viessmann_viessmann.json.lock"
    ]


def test_a_token_is_refreshed_before_it_expires_and_written_back(account: Account, clock: Clock) -> None:
    account.poll()
    before = kept(account)["token"]
    account.places()
    clock.move(timedelta(minutes=59))
    account.poll()
    assert account.places() == ["token", "features"], "neither an expired answer nor a password"
    after = kept(account)["token"]
    assert isinstance(before, dict) and isinstance(after, dict)
    assert before["refresh_token"] != after["refresh_token"]
    for _ in range(5):
        clock.move(timedelta(hours=1))
        account.poll()
    assert account.places() == ["token", "features"] * 5, "a refresh token that rotates is lost"


def test_without_refresh_tokens_it_logs_in_each_hour(
    account: Account, cloud: ViessmannCloudServer, clock: Clock
) -> None:
    cloud.refresh_tokens = False
    account.poll()
    account.places()
    clock.move(timedelta(hours=1))
    account.poll()
    assert account.places() == ["authorize", "token", "features"]


def test_a_refresh_token_that_is_not_accepted_gives_way_to_the_password(
    account: Account, cloud: ViessmannCloudServer
) -> None:
    account.poll()
    account.places()
    cloud.revoke()
    account.poll()
    assert account.places() == ["features", "token", "authorize", "token", "features"]


def test_a_refresh_token_of_the_owner_is_enough(tmp_path: Path, cloud: ViessmannCloudServer, clock: Clock) -> None:
    token = EnvironmentText(cloud.give_refresh_token())
    account = Account(tmp_path, cloud, username=None, password=None, refresh_token=token)
    account.poll()
    assert account.places() == ["token", "devices", "features"]
    clock.move(timedelta(hours=1))
    account.poll()
    cloud.revoke()
    error = account.fail(Outcome.denied)
    assert "does not accept the refresh token" in error.what and "refresh_token" in error.remedy
    account.landing.close()


def test_a_wrong_password_is_not_tried_again_and_again(
    tmp_path: Path, cloud: ViessmannCloudServer, poll_later: Step
) -> None:
    account = Account(tmp_path, cloud, password=EnvironmentText("wrong"))
    error = account.fail(Outcome.denied)
    assert error.wait == timedelta(minutes=15)
    assert "user name or the password" in error.what and "wrong" not in str(error)
    for _ in range(20):  # a collector that is started again and again
        waiting = account.fail(Outcome.denied)
        assert waiting.wait is not None and waiting.wait <= timedelta(minutes=15)
    assert account.places() == ["authorize"]
    account.run(*[poll_later] * (24 * 12))
    assert len(account.places()) <= 5, "a day with a wrong password"
    account.landing.close()


def test_a_corrected_password_counts_at_once(tmp_path: Path, cloud: ViessmannCloudServer) -> None:
    wrong = Account(tmp_path, cloud, password=EnvironmentText("wrong"))
    wrong.fail(Outcome.denied)
    wrong.landing.close()
    right = Account(tmp_path, cloud)
    right.poll()
    right.landing.close()


def test_an_endless_expired_token_costs_few_requests(
    account: Account, cloud: ViessmannCloudServer, clock: Clock, poll_later: Step
) -> None:
    account.poll()
    account.places()
    cloud.inject("expired", times=None)
    error = account.fail(Outcome.denied)
    assert account.places() == ["features", "token", "features"]
    assert error.wait is not None and error.wait >= timedelta(minutes=15)
    account.run(*[poll_later] * (24 * 12))
    places = account.places()
    assert places.count("token") + places.count("authorize") <= 8
    assert len(places) <= 24 * 12 + 16, "one request a poll, and few for the login"
    cloud.heal()
    waiting = account.run(ViessmannCloud.poll)[0]
    if isinstance(waiting, PollError):
        clock.move(waiting.wait or timedelta())
    account.poll()


def test_a_login_that_dies_half_way_makes_the_next_one_wait(account: Account, cloud: ViessmannCloudServer) -> None:
    """As when the process is killed each time in the middle of the login."""
    account.settings = account.settings.model_copy(update={"timeout": timedelta(seconds=2)})
    cloud.inject("stall", place="token", times=None)
    account.fail(Outcome.timeout)
    file = kept(account)
    assert file["attempts"] == 1 and file["not_before"] is not None
    account.fail(Outcome.timeout)
    assert account.places() == ["authorize", "token"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"token": 3}', "\x00\xff"])
def test_a_token_file_that_cannot_be_understood_is_made_anew(content: str, account: Account) -> None:
    account.token_file.write_text(content, encoding="latin-1")
    account.poll()
    assert account.places() == ["authorize", "token", "devices", "features"]


def test_a_folder_that_cannot_be_written_costs_no_request(tmp_path: Path, cloud: ViessmannCloudServer) -> None:
    account = Account(tmp_path, cloud)
    (tmp_path / "file").write_text("")
    account.folder = tmp_path / "file"
    error = account.fail(Outcome.error)
    assert "where the login is kept" in error.what and error.remedy
    assert account.places() == []
    account.landing.close()


def test_two_processes_renew_one_token(account: Account, clock: Clock) -> None:
    """The collector and a run that asks for history share the file: the second takes what the first has got."""

    async def both(source: ViessmannCloud) -> None:
        other = account.open()
        await other.poll()
        clock.move(timedelta(hours=1))
        account.places()
        await source.poll()
        await other.poll()
        await other.close()

    account.run(ViessmannCloud.poll, both)
    assert account.places() == ["token", "features", "features"]
