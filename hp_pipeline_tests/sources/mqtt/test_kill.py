"""A real process is killed between receiving and committing, and between committing and acknowledging, and its broker
is killed, too: nothing is lost and nothing doubled, also of messages that say no time of their own."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from hp_pipeline.landing.store import Landing
from hp_pipeline_tests.sources.mqtt.mosquitto import Mosquitto

ALWAYS = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
REPOSITORY = Path(__file__).parents[3]


def _spawn(folder: Path, broker: Mosquitto, moment: str, after: int = 0) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hp_pipeline_tests.sources.mqtt.dying_listener",
            *map(str, (folder, broker.port, moment, after)),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    return process


def _message(number: int) -> tuple[str, str]:
    return "counter", str(number)


def _stored(folder: Path) -> list[float | str]:
    """What was stored, in the order of its times."""
    with Landing(folder, read_only=True) as landing:
        told = [(time, value) for _, readings in landing.series("broker", *ALWAYS) for _point, time, value in readings]
    return [value for _, value in sorted(told, key=lambda item: item[0])]


def _wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 15
    while len(_stored(folder)) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_killed_before_and_after_a_commit_loses_and_doubles_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    sent = 0
    for moment, after in (("before", 0), ("after", 0), ("before", 2), ("after", 1)):
        process = _spawn(tmp_path, broker, moment, after)
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            broker.publish(_message(sent))
            sent += 1
            time.sleep(0.01)
        assert process.wait(10) == -signal.SIGKILL
        broker.publish(*map(_message, range(sent, sent + 5)))
        sent += 5
    process = _spawn(tmp_path, broker, "never")
    _wait_for(tmp_path, sent)
    process.kill()
    process.wait()
    assert _stored(tmp_path) == [float(number) for number in range(sent)]


def test_killed_at_random_moments_under_a_stream_of_messages(broker: Mosquitto, tmp_path: Path) -> None:
    sent = 0
    stop = threading.Event()

    def publish() -> None:
        nonlocal sent
        with broker.client() as client:
            while not stop.is_set():
                info = client.publish(*_message(sent), qos=1)
                info.wait_for_publish(10)
                sent += 1
                time.sleep(0.004)

    process = _spawn(tmp_path, broker, "never")
    publisher = threading.Thread(target=publish)
    publisher.start()
    chance = random.Random(3)
    try:
        for _ in range(6):
            time.sleep(chance.uniform(0.05, 0.4))
            process.kill()
            process.wait()
            process = _spawn(tmp_path, broker, "never")
    finally:
        stop.set()
        publisher.join()
    _wait_for(tmp_path, sent)
    process.kill()
    process.wait()
    assert sent > 100
    assert _stored(tmp_path) == [float(number) for number in range(sent)]


def test_broker_and_collector_are_both_killed(broker: Mosquitto, tmp_path: Path) -> None:
    sent = 0

    def publish(count: int) -> None:
        nonlocal sent
        broker.publish(*map(_message, range(sent, sent + count)))
        sent += count

    process = _spawn(tmp_path, broker, "after", 1)
    publish(5)
    _wait_for(tmp_path, sent)
    publish(5)
    assert process.wait(10) == -signal.SIGKILL  # the last that it stored is not acknowledged
    broker.write()
    broker.kill()
    broker.start()
    publish(2)
    process = _spawn(tmp_path, broker, "never")
    _wait_for(tmp_path, sent)
    for times in (1, 2):
        process.send_signal(signal.SIGSTOP)
        publish(3)
        broker.write()  # they are on their way
        process.send_signal(signal.SIGCONT)
        _wait_for(tmp_path, sent)
        for _ in range(times):
            broker.kill()  # whether they were acknowledged, it will not know
            time.sleep(0.4)  # whoever listens tries in vain
            broker.start()
            time.sleep(0.1)
    publish(2)
    _wait_for(tmp_path, sent)
    time.sleep(0.5)  # what would come again has come
    process.kill()
    process.wait()
    assert _stored(tmp_path) == [float(number) for number in range(sent)]
