"""The account's budget: counted before it is sent, a reserve that is left alone, and the cloud's own word obeyed."""

from datetime import timedelta
from pathlib import Path

from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import Outcome
from hp_pipeline.sources.viessmann import ViessmannCloud
from hp_pipeline.sources.viessmann.source import account_of, windows_of
from hp_pipeline_tests.sources.viessmann.conftest import MORNING, Account


def spend(account: Account, calls: int) -> None:
    ledger = CallLedger(account.landing, account_of(account.settings), windows_of(account.settings))
    for _ in range(calls):
        ledger.take("other", account.cloud.clock.now())


def test_every_request_is_counted_also_those_that_fail(account: Account, cloud: ViessmannCloudServer) -> None:
    account.poll()
    for fault in ("drop", "html_502", "expired", "garbage"):
        cloud.inject(fault)
        account.run(ViessmannCloud.poll)
    assert account.counted() == len(account.places()) == 4 + 1 + 1 + 3 + 1


def test_nothing_is_sent_below_the_reserve(tmp_path: Path, cloud: ViessmannCloudServer, clock: Clock) -> None:
    account = Account(tmp_path, cloud, calls_per_day=400, reserve=30, calls_per_10min=1000, every="10min")
    spend(account, 400 - 30 - 4)
    account.poll()
    assert account.places() == ["authorize", "token", "devices", "features"]
    error = account.fail(Outcome.limited)
    assert "30 are kept in reserve" in error.what and error.wait == timedelta(days=1)
    clock.move(timedelta(hours=20))
    assert account.fail(Outcome.limited).wait == timedelta(hours=4)
    assert account.places() == []
    clock.move(timedelta(hours=4))
    account.poll()  # the window has ended; a restart in between changed nothing
    account.landing.close()


def test_ten_minutes_have_their_own_limit(tmp_path: Path, cloud: ViessmannCloudServer, clock: Clock) -> None:
    account = Account(tmp_path, cloud, calls_per_10min=6)
    account.run(*[ViessmannCloud.poll] * 5)
    assert account.places() == ["authorize", "token", "devices", "features", "features", "features"]
    clock.move(timedelta(minutes=10))
    account.poll()
    account.landing.close()


def test_the_login_is_not_made_without_budget(tmp_path: Path, cloud: ViessmannCloudServer) -> None:
    account = Account(tmp_path, cloud, calls_per_10min=1)
    account.fail(Outcome.limited)
    assert account.places() == ["authorize"]
    account.landing.close()


def test_limit_reset_is_obeyed_over_restarts(account: Account, cloud: ViessmannCloudServer, clock: Clock) -> None:
    account.poll()
    account.places()
    cloud.inject("rate_limit")
    assert account.fail(Outcome.limited).wait == timedelta(hours=3)
    for _ in range(5):
        clock.move(timedelta(minutes=30))
        error = account.fail(Outcome.limited)
        assert "the cloud said so" in error.what
    assert account.places() == ["features"]
    clock.move(timedelta(minutes=30))
    account.poll()


def test_a_refusal_without_a_time_waits_longer_each_time(
    account: Account, cloud: ViessmannCloudServer, clock: Clock
) -> None:
    waits = []
    account.poll()
    cloud.inject("rate_limit_bare", times=None)

    async def refused(source: ViessmannCloud) -> None:
        for _ in range(4):
            try:
                await source.poll()
            except Exception as error:
                waits.append(error.wait)  # type: ignore[attr-defined]
                clock.move(error.wait)  # type: ignore[attr-defined]

    account.run(refused)
    assert waits == [timedelta(minutes=minutes) for minutes in (10, 20, 40, 80)]


def test_the_limits_of_the_cloud_itself_are_met(tmp_path: Path, house: House) -> None:
    """Other clients of the account have used the cloud's budget: it refuses, and is obeyed."""
    clock = Clock(MORNING, 0)
    with ViessmannCloudServer(house, clock, calls_per_day=6) as cloud:
        account = Account(tmp_path, cloud)
        account.run(*[ViessmannCloud.poll] * 3)
        error = account.fail(Outcome.limited)
        assert error.wait == timedelta(days=1)
        account.places()
        account.fail(Outcome.limited)
        assert account.places() == []
        account.landing.close()


def test_sources_of_one_account_share_the_budget(tmp_path: Path, cloud: ViessmannCloudServer) -> None:
    first = Account(tmp_path, cloud)
    second = Account(tmp_path, cloud, id="other", every="10min")
    assert account_of(first.settings) == account_of(second.settings)
    assert "example" not in account_of(first.settings)
    first.landing.close()
    second.landing.close()


def test_a_call_that_cannot_be_counted_is_not_made(account: Account) -> None:
    account.landing.close()
    assert "cannot be counted" in account.fail(Outcome.error).what
    assert account.places() == []
