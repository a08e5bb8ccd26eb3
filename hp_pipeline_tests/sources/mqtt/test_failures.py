"""What goes wrong between here and the broker: each has its own outcome, and listening goes on afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from hp_pipeline.settings.model import EnvironmentText
from hp_pipeline.sources.live import Outcome, PollError
from hp_pipeline.sources.mqtt import open_source
from hp_pipeline_tests.sources.mqtt.conftest import MakeBroker
from hp_pipeline_tests.sources.mqtt.listening import Listening, asynchronous, failure, listening, source, texts
from hp_pipeline_tests.sources.mqtt.mosquitto import PASSWORD, USER, Mosquitto, free_port, make_certificates


@asynchronous
async def test_no_broker_is_refused() -> None:
    error = await failure(source(free_port(), "a"))
    assert error.outcome is Outcome.refused
    assert "Is the broker running" in error.remedy


@asynchronous
async def test_a_name_that_is_none_is_refused() -> None:
    error = await failure(source(1883, "a", host="no-such-host.invalid"))
    assert error.outcome is Outcome.refused


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@asynchronous
async def test_a_wrong_password_is_denied_and_not_shown(make_broker: MakeBroker, version: str) -> None:
    broker = make_broker(password=True)
    wrong = source(broker.port, "a", username=USER, password=EnvironmentText("not-this-one"), version=version)
    for settings in (wrong, source(broker.port, "a", version=version)):
        error = await failure(settings)
        assert error.outcome is Outcome.denied
        assert error.wait is not None and error.wait >= timedelta(minutes=1)
        assert "not-this-one" not in str(error)
    right = source(broker.port, "a", username=USER, password=EnvironmentText(PASSWORD), version=version)
    async with listening(right) as running:
        broker.publish(("a", "1"))
        await running.values(("a", 1.0))


@asynchronous
async def test_a_topic_that_nobody_may_read_is_told_and_the_others_go_on(make_broker: MakeBroker) -> None:
    broker = make_broker(access="topic readwrite open/#\n")
    async with listening(source(broker.port, "open/#", "open/a", "open/b/+")) as running:
        broker.publish(("open/a", "1"))
        await running.values(("open/a", 1.0))


@asynchronous
async def test_tls_checks_who_the_broker_is(make_broker: MakeBroker, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    broker = make_broker(certificates=certificates, password=True)
    who = {"username": USER, "password": EnvironmentText(PASSWORD), "tls": True}

    untrusted = await failure(source(broker.port, "a", **who))
    assert untrusted.outcome is Outcome.refused and "not trusted" in untrusted.what and "ca_file" in untrusted.remedy

    elsewhere = await failure(source(broker.port, "a", **who, host="localhost", ca_file=str(certificates.authority)))
    assert elsewhere.outcome is Outcome.refused and "not trusted" in elsewhere.what

    missing = await failure(source(broker.port, "a", **who, ca_file="nowhere.pem"))
    assert missing.outcome is Outcome.error and "nowhere.pem" in missing.what

    plain = await failure(source(broker.port, "a", username=USER, password=EnvironmentText(PASSWORD)))
    assert plain.outcome in (Outcome.broken, Outcome.refused)

    settings = source(broker.port, "a", **who, ca_file="certificates/authority.pem")
    running = Listening(settings)
    running.listener = open_source(settings, directory=tmp_path)
    running.task = asyncio.create_task(running.listener.listen(running.deliver))
    await running.until(lambda: running.listener.is_listening)
    broker.publish(*texts(range(300), "a"))  # several messages in one TLS record
    await running.until(lambda: len(running.said) == 300)
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)


@asynchronous
async def test_tls_where_there_is_none(broker: Mosquitto) -> None:
    error = await failure(source(broker.port, "a", tls=True))
    assert error.outcome is Outcome.refused


@contextlib.asynccontextmanager
async def server(answer: bytes | None, *, close: bool = False) -> AsyncIterator[int]:
    """Somebody who listens and answers every greeting with these bytes, or not at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reader.read(10)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            if not close:
                await asyncio.sleep(30)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("answer", "close", "outcomes"),
    [
        (None, False, {Outcome.timeout}),
        (None, True, {Outcome.broken}),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, {Outcome.broken}),
        (bytes(range(255, 0, -1)), False, {Outcome.broken}),
        (b"\x20\xff\xff\xff\xff\xff", False, {Outcome.broken}),
        (b"\x20\x03\x00\x84\x00", True, {Outcome.unsupported}),
        (b"\x20\x03\x00\x88\x00", True, {Outcome.busy}),
        (b"\x20\x03\x00\x97\x00", True, {Outcome.limited}),
        (b"\x20\x03\x00", False, {Outcome.timeout}),
    ],
)
@asynchronous
async def test_somebody_else_than_a_broker(answer: bytes | None, close: bool, outcomes: set[Outcome]) -> None:
    async with server(answer, close=close) as port:
        error = await failure(source(port, "a", timeout=timedelta(seconds=1)))
    assert error.outcome in outcomes, error


@asynchronous
async def test_a_broker_that_dies_is_refused_and_what_arrived_is_handed_over(broker: Mosquitto) -> None:
    settings = source(broker.port, "a", gather=timedelta(seconds=30))
    async with listening(settings) as running:
        broker.publish(("a", "1"))
        await asyncio.sleep(0.2)
        assert running.said == []
        broker.stop()
        assert running.task is not None
        with pytest.raises(PollError) as failed:
            await running.task
        assert failed.value.outcome is Outcome.refused
        assert running.said == [("a", 1.0)]
        broker.start()
        running.task = asyncio.create_task(running.listener.listen(running.deliver))
        await running.until(lambda: running.listener.is_listening)
        assert running.listener.sessions_lost == 0
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
    async with listening(source(broker.port, "a")) as again:
        broker.publish(("a", "2"))
        await again.until(lambda: ("a", 2.0) in again.said)


@asynchronous
async def test_a_broker_that_answers_nothing_any_more_times_out(broker: Mosquitto) -> None:
    async with listening(source(broker.port, "a", keep_alive=timedelta(seconds=1))) as running:
        broker.freeze()
        try:
            assert running.task is not None
            with pytest.raises(PollError) as failed:
                await asyncio.wait_for(asyncio.shield(running.task), 10)
            assert failed.value.outcome is Outcome.timeout
        finally:
            broker.thaw()


@asynchronous
async def test_two_clients_of_one_name_are_told_of_each_other(broker: Mosquitto) -> None:
    settings = source(broker.port, "a")
    async with listening(settings) as first, listening(settings):
        assert first.task is not None
        with pytest.raises(PollError) as failed:
            await asyncio.wait_for(asyncio.shield(first.task), 5)
        # Newer brokers say why (session taken over), this one may just close.
        assert failed.value.outcome in (Outcome.error, Outcome.refused)
        assert "client_id" in failed.value.remedy


@asynchronous
async def test_a_session_that_the_broker_forgot_is_noticed(broker: Mosquitto) -> None:
    settings = source(broker.port, "a")
    running = Listening(settings)
    for forget in (True, False):
        running.task = asyncio.create_task(running.listener.listen(running.deliver))
        await running.until(lambda: running.listener.is_listening)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        if forget:
            broker.stop()
            (broker.folder / "mosquitto.db").unlink()
            broker.start()
    assert running.listener.sessions_lost == 1


@asynchronous
async def test_listening_ends_at_once_also_while_it_connects() -> None:
    with socket.socket() as silent:  # accepts nobody: the greeting never comes
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        running = Listening(source(silent.getsockname()[1], "a", timeout=timedelta(seconds=60)))
        task = asyncio.create_task(running.listener.listen(running.deliver))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await running.listener.close()
        await running.listener.close()
        assert task.cancelled()
        assert time.monotonic() - began < 5


@asynchronous
async def test_closing_ends_listening(broker: Mosquitto) -> None:
    async with listening(source(broker.port, "a")) as running:
        await running.listener.close()
        assert running.task is not None
        with pytest.raises(PollError):
            await asyncio.wait_for(running.task, 2)
