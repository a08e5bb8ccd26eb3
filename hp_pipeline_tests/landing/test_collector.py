"""The collector: each source its own matter, nothing told is lost, ends at once, changes only what changed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hp_pipeline.landing.collector import Collector, LiveSource, Patience, SourceTask
from hp_pipeline.landing.health import ask
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.store import Landing, micros
from hp_pipeline.sources.live import Outcome, Polled, PollError, Reading
from hp_pipeline_tests.landing.test_pace import FakeClock
from hp_pipeline_tests.landing.tiny import (
    TinyDevice,
    TinySource,
    closed_port,
    healthy,
    live,
    start,
    values_of,
    wait_for,
)


@pytest.fixture
def device() -> Iterator[TinyDevice]:
    opened = TinyDevice()
    yield opened
    opened.close()


def collected(folder: Path, sources: list[LiveSource], seconds: float, patience: Patience | None = None) -> Collector:
    """Collect for so long in this process."""

    async def run() -> Collector:
        with Landing(folder) as landing:
            recorder = Recorder(landing)
            writing = asyncio.create_task(recorder.run())
            collector = Collector(recorder, patience=patience)
            await collector.use(sources)
            tasks = dict(collector.tasks)
            await asyncio.sleep(seconds)
            await collector.stop()
            assert await recorder.flush(2)
            writing.cancel()
            recorder.close()
            collector.tasks = tasks
            return collector

    return asyncio.run(run())


class Scripted:
    """Answers from a list: readings, an error, or something to wait for."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def poll(self) -> Polled:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else 1.0
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Polled) else Polled([Reading("a", answer)])

    async def close(self) -> None:
        pass


def test_every_answer_lands_with_all_its_values(tmp_path: Path, device: TinyDevice) -> None:
    collector = collected(tmp_path, [live("tiny", lambda: TinySource(device.port))], 0.6)
    with Landing(tmp_path, read_only=True) as landing:
        series = list(landing.series("tiny", datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)))
        assert len(series) >= 15
        for poll, readings in series:
            told = {point: value for point, _, value in readings}
            assert told == values_of(int(told["n"]))
            assert poll.due is not None and poll.time == poll.due
    assert collector.tasks["tiny"].life.outcomes["ok"] == len(series)


def test_what_is_worth_it_is_asked_again_within_the_poll(tmp_path: Path) -> None:
    busy = PollError(Outcome.busy, "busy", retry=True)
    illegal = PollError(Outcome.unsupported, "no such register")
    source = Scripted(busy, busy, 1.0, illegal, 2.0)
    patience = Patience(retry_first=0.01, retry_most=0.02)
    collector = collected(tmp_path, [live("a", lambda: source, 0.1)], 0.45, patience)
    life = collector.tasks["a"].life
    assert life.retries == 2 and life.outcomes["busy"] == 0 and life.outcomes["unsupported"] == 1
    with Landing(tmp_path) as landing:
        assert [poll.outcome for poll in landing.polls("a")][:3] == ["ok", "unsupported", "ok"]


def test_asking_again_without_an_answer_does_not_hide_what_was_said(tmp_path: Path) -> None:
    class BusyThenSilent(Scripted):
        async def poll(self) -> Polled:
            self.asked += 1
            if self.asked % 2:
                raise PollError(Outcome.busy, "busy", retry=True)
            await asyncio.sleep(60)
            raise AssertionError("it never answers")

    source = BusyThenSilent()
    patience = Patience(retry_first=0.01, retry_most=0.01)
    life = collected(tmp_path, [live("a", lambda: source, 0.1, 0.2)], 0.7, patience).tasks["a"].life
    assert source.asked >= 2 and set(life.outcomes) == {"busy"}


def test_the_circuit_opens_and_closes_again(tmp_path: Path) -> None:
    dead = [PollError(Outcome.refused, "no connection") for _ in range(4)]
    source = Scripted(*dead, 1.0)
    patience = Patience(failures=3, pause_most=0.2)
    life = collected(tmp_path, [live("a", lambda: source, 0.05)], 1.2, patience).tasks["a"].life
    assert life.paused >= 2 and life.failures == 0 and life.last_outcome is Outcome.ok
    assert life.outcomes["refused"] == 4 and life.outcomes["ok"] > 3


def test_a_login_that_is_refused_and_a_device_that_names_a_time_are_left_alone(tmp_path: Path) -> None:
    denied = Scripted(PollError(Outcome.denied, "wrong password", "Mend it"))
    limited = Scripted(PollError(Outcome.limited, "too many calls", wait=timedelta(seconds=0.3)), 1.0)
    collector = collected(tmp_path, [live("denied", lambda: denied, 0.05), live("limited", lambda: limited, 0.05)], 0.8)
    assert denied.asked == 1
    life = collector.tasks["limited"].life
    assert life.paused >= 4 and life.outcomes["limited"] == 1 and life.outcomes["ok"] >= 3


def test_what_a_source_must_not_do_is_an_outcome_and_no_secret_is_told(tmp_path: Path) -> None:
    odd = Polled([Reading("a", "no number"), Reading("b", 1.0, "both"), Reading(7, 1.0), Reading("c", True)])  # type: ignore[arg-type]
    worse = Polled([Reading("a", 1.0, time=datetime(2026, 1, 1))])  # a time without a zone
    source = Scripted(ZeroDivisionError("the password is secret-word"), odd, worse, 1.0)
    collector = collected(tmp_path, [live("a", lambda: source, 0.05)], 0.5)
    assert collector.tasks["a"].life.outcomes["error"] == 1
    with Landing(tmp_path) as landing:
        said = [poll.what for poll in landing.polls("a") if poll.what]
        assert "ZeroDivisionError at test_collector.py" in said[0] and "secret-word" not in "".join(said)
        assert [poll.outcome for poll in landing.polls("a")][:4] == ["error", "ok", "error", "ok"]
        assert [poll.points for poll in landing.polls("a")][:4] == [0, 0, 0, 1]


def test_a_source_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    opened: list[int] = []

    def open_later() -> Scripted:
        opened.append(1)
        if len(opened) == 1:
            raise PollError(Outcome.error, "not yet")
        return Scripted()

    life = collected(tmp_path, [live("a", open_later, 0.05)], 1.6).tasks["a"].life
    assert len(opened) == 2 and life.outcomes["error"] == 1 and life.outcomes["ok"] > 3


def test_one_dead_one_slow_and_one_mad_source_cost_the_others_nothing(tmp_path: Path, device: TinyDevice) -> None:
    slow, garbage = TinyDevice("slow"), TinyDevice("garbage")
    process = start(
        tmp_path,
        {
            "healthy": ("tiny", device.port, 0.1),
            "fast": ("tiny", device.port, 0.03),
            "dead": ("tiny", closed_port(), 0.05),
            "slow": ("tiny", slow.port, 0.1),
            "garbage": ("tiny", garbage.port, 0.05),
            "mad": ("mad", 0, 0.1),
        },
    )
    try:
        healthy(tmp_path)
        time.sleep(5)
        answer = ask(tmp_path)
        assert answer is not None
        sources = {source["id"]: source for source in answer["sources"]}
        for id_, interval in (("healthy", 0.1), ("fast", 0.03)):
            assert sources[id_]["outcomes"]["ok"] > 0.6 * 5 / interval, sources[id_]
            assert sources[id_]["outcomes"]["ok"] > 0.98 * sum(sources[id_]["outcomes"].values())
            assert sources[id_]["late_ms"]["p99"] < 200
        for id_, outcome in (("dead", "refused"), ("slow", "timeout"), ("garbage", "broken"), ("mad", "error")):
            assert sources[id_]["outcomes"].get(outcome, 0) >= 1, sources[id_]
            assert sources[id_]["outcomes"].get("ok", 0) == 0
        began = time.monotonic()
        process.terminate()
        process.join(10)
        assert time.monotonic() - began < 2 and process.exitcode == 0
    finally:
        process.kill()
        slow.close()
        garbage.close()
    with Landing(tmp_path) as landing:
        assert landing.problems() == []


def test_a_listening_source_hears_that_it_is_stored_only_once_it_is(tmp_path: Path) -> None:
    stored: list[int] = []

    class Speaker:
        async def listen(self, deliver: Any) -> None:
            for number in range(20):
                await deliver(Polled([Reading("topic", float(number))]))
                with Landing(tmp_path, read_only=True) as landing:
                    stored.append(landing.rows("SELECT count(*) FROM polls WHERE outcome = 'ok'")[0][0])
            raise PollError(Outcome.refused, "the broker is gone")

        async def close(self) -> None:
            pass

    source = LiveSource("speaker", "mqtt", None, timedelta(seconds=1), lambda: None, Speaker)
    collector = collected(tmp_path, [source], 0.6)
    assert stored[:20] == list(range(1, 21))
    assert collector.tasks["speaker"].life.outcomes["refused"] == 1


def test_sigterm_loses_nothing_and_only_one_collects(tmp_path: Path, device: TinyDevice) -> None:
    process = start(tmp_path, {"tiny": ("tiny", device.port, 0.02)})
    try:
        healthy(tmp_path)
        time.sleep(0.3)
        second = start(tmp_path, {})
        second.join(10)
        assert second.exitcode == 1
        began = time.monotonic()
        process.terminate()
        process.join(5)
        assert time.monotonic() - began < 2 and process.exitcode == 0
    finally:
        process.kill()
    assert ask(tmp_path) is None
    with Landing(tmp_path) as landing:
        numbers = [body[1] for poll in landing.polls("tiny") for body in poll.body[:1]]
        # The device counts its answers: all but the one on its way at the end are stored.
        assert device.answers - 1 <= max(numbers) <= device.answers


def test_a_change_of_the_settings_begins_and_ends_only_what_changed(tmp_path: Path) -> None:
    sources = {name: Scripted() for name in ("kept", "changed", "gone", "new")}

    async def run() -> None:
        with Landing(tmp_path) as landing:
            recorder = Recorder(landing)
            collector = Collector(recorder)
            first = [live(name, lambda name=name: sources[name], 0.05) for name in ("kept", "changed", "gone")]  # type: ignore[misc]
            await collector.use(first)
            kept, changed = collector.tasks["kept"], collector.tasks["changed"]
            second = [first[0], live("changed", lambda: sources["changed"], 0.07), live("new", lambda: sources["new"])]
            assert await collector.use(second) == (["changed", "new"], ["gone"])
            assert collector.tasks["kept"] is kept and collector.tasks["changed"] is not changed
            assert await collector.use(second) == ([], [])
            await collector.stop()
            recorder.close()

    asyncio.run(run())


def test_times_are_those_of_the_grid_and_unique_when_the_clock_is_set_back(tmp_path: Path) -> None:
    clock = FakeClock(datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp())
    clock.jumps = [(100.0, -3600.0), (4000.0, 7200.0)]
    attempts: list[Any] = []

    class Kept(Recorder):
        def put(self, attempt: Any) -> None:
            attempts.append(attempt)
            if clock.now > 8000:
                raise asyncio.CancelledError

    class Unhurried(Scripted):
        async def poll(self) -> Polled:
            await clock.sleep(0.05)
            return await super().poll()

    async def run() -> None:
        with Landing(tmp_path) as landing:
            source = LiveSource("a", "t", timedelta(seconds=30), timedelta(seconds=5), lambda: None, Unhurried)
            task = SourceTask(source, Kept(landing), clock)
            with pytest.raises(asyncio.CancelledError):
                await task.run()
            landing.record(attempts)
            assert landing.rows("SELECT count(DISTINCT time), count(*) FROM polls")[0] == (len(attempts),) * 2
            assert landing.rows("SELECT count(*) FROM polls WHERE whole > 0")[0][0] == 2

    asyncio.run(run())
    assert len(attempts) > 250
    assert sum(micros(a.time) == micros(a.due) for a in attempts) > 0.4 * len(attempts)


def test_systemd_is_told(tmp_path: Path, device: TinyDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(10)
        script = (
            "from hp_pipeline_tests.landing import tiny; import sys\n"
            f"tiny.collect({str(tmp_path / 'data')!r}, {{'tiny': ('tiny', {device.port}, 0.1)}})"
        )
        (tmp_path / "data").mkdir()
        environment = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}
        environment.pop("WATCHDOG_PID", None)
        process = subprocess.Popen([sys.executable, "-c", script], env=environment)
        try:
            heard = set()
            while not {"READY=1", "WATCHDOG=1"} <= heard:
                heard |= set(channel.recv(4096).decode().split("\n"))
            assert any(line.startswith("STATUS=") for line in heard)
            process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in heard:
                heard |= set(channel.recv(4096).decode().split("\n"))
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()


def test_the_health_answer_is_for_this_machine_only(tmp_path: Path, device: TinyDevice) -> None:
    process = start(tmp_path, {"tiny": ("tiny", device.port, 0.05)})
    try:
        answer = wait_for(lambda: (healthy(tmp_path)["sources"][0]["state"] == "good") and ask(tmp_path), "good")
        assert answer["ok"] is True
        port = json.loads((tmp_path / "collector.json").read_text())["port"]

        def request(head: str) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(f"{head}\r\n\r\n".encode())
                return connection.makefile("rb").readline()

        assert b"200" in request("GET /health HTTP/1.1\r\nHost: localhost:1")
        assert b"403" in request("GET /live HTTP/1.1\r\nHost: evil.example:80")
        assert b"405" in request(f"POST /health HTTP/1.1\r\nHost: 127.0.0.1:{port}")
        assert b"404" in request(f"GET /x HTTP/1.1\r\nHost: 127.0.0.1:{port}")
        values = ask(tmp_path, "/live")
        assert values is not None and values["tiny"]["return"]["value"] == 30.0
    finally:
        process.kill()
        process.join()
