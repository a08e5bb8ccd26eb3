"""An MQTT broker on loopback for the demo street and for tests: mosquitto where it is installed, else one of Python.

The one of Python (amqtt, installed with the extra `demo`) speaks MQTT 3.1.1 only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"
_START_LIMIT: Final = 10.0
_STOP_LIMIT: Final = 5.0


class BrokerError(RuntimeError):
    """There is no broker, or it does not start; the message says what to do."""


@dataclass(frozen=True)
class Broker:
    """A running broker.

    Attributes:
        kind: `mosquitto` or `embedded`.
        port: its TCP port on 127.0.0.1.
        version: the newest version of MQTT that it speaks, as settings of a source write it.
        username, password: whom it lets in; None: everybody.
    """

    kind: str
    port: int
    version: str
    username: str | None = None
    password: str | None = None
    host: str = HOST


def find_mosquitto() -> str | None:
    """Path of mosquitto's program; Debian has it where only root looks."""
    return _find("mosquitto")


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


@contextlib.asynccontextmanager
async def running_broker(
    folder: Path,
    *,
    port: int | None = None,
    username: str | None = None,
    password: str | None = None,
    embedded: bool | None = None,
) -> AsyncIterator[Broker]:
    """A broker that runs while the block does.

    Args:
        folder: its configuration, sessions and log; made if it is not there.
        port: its port; a free one without it.
        username, password: whom it lets in; everybody without.
        embedded: True for the one of Python, False for mosquitto; mosquitto if it is installed without it.

    Raises:
        BrokerError: there is none, or it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = find_mosquitto()
    if embedded is None:
        embedded = program is None
    if not embedded and program is None:
        raise BrokerError("mosquitto is not installed. On Debian: sudo apt-get install mosquitto")
    broker = Broker(
        "embedded" if embedded else "mosquitto",
        port or _free_port(),
        "3.1.1" if embedded else "5",
        username,
        password,
    )
    run = _embedded(broker, folder) if embedded or program is None else _mosquitto(broker, folder, program)
    async with run:
        yield broker


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def _mosquitto(broker: Broker, folder: Path, program: str) -> AsyncIterator[None]:
    lines = [
        f"listener {broker.port} {HOST}",
        "persistence true",
        f"persistence_location {folder}/",
        f"log_dest file {folder}/mosquitto.log",
        "queue_qos0_messages true",
        "max_queued_messages 100000",
        # Started by root it would change to a user who may not read this folder.
        "user root",
    ]
    if broker.username is None:
        lines.append("allow_anonymous true")
    else:
        lines += ["allow_anonymous false", f"password_file {await _password_file(broker, folder)}"]
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(configuration), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_START_LIMIT):
            while not await _answers(broker.port):
                if process.returncode is not None:
                    raise BrokerError(f"mosquitto ended at once; {folder / 'mosquitto.log'} says why")
                await asyncio.sleep(0.02)
        yield
    except TimeoutError:
        raise BrokerError(f"mosquitto does not answer; {folder / 'mosquitto.log'} says why") from None
    finally:
        await _end(process)


async def _password_file(broker: Broker, folder: Path) -> Path:
    tool = _find("mosquitto_passwd")
    if tool is None:
        raise BrokerError("mosquitto_passwd is not installed, which belongs to mosquitto; install mosquitto again")
    path = folder / "passwords"
    path.write_text(f"{broker.username}:{broker.password}\n", encoding="utf-8")
    path.chmod(0o600)
    # By a file, and not as an argument, which everybody on the machine could read.
    hashing = await asyncio.create_subprocess_exec(tool, "-U", str(path))
    if await hashing.wait():
        raise BrokerError(f"mosquitto_passwd could not write {path}")
    return path


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_LIMIT)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def _embedded(broker: Broker, folder: Path) -> AsyncIterator[None]:
    try:
        from amqtt.broker import Broker as PythonBroker
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher
    except ImportError:
        raise BrokerError(
            "there is no MQTT broker: install mosquitto (on Debian: sudo apt-get install mosquitto), or the one of "
            "Python (pip install 'hp_pipeline[demo]')"
        ) from None
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.ERROR)
    authentication: dict[str, dict[str, Any]]
    authentication = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    if broker.username is not None:
        path = folder / "passwords"
        hashed = PasswordHash((Argon2Hasher(),)).hash(broker.password or "")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{broker.username}:{hashed}\n")
        authentication = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(path)}}
    server = PythonBroker(
        {"listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{broker.port}"}}, "plugins": authentication}
    )
    try:
        await server.start()
    except Exception as error:
        raise BrokerError(f"the broker of Python does not start on port {broker.port}: {error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(server.shutdown(), _STOP_LIMIT)
