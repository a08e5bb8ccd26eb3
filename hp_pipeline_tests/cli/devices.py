"""Simulated devices beside a command: their servers run in a thread while the command runs here."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

Server = TypeVar("Server")


@contextlib.contextmanager
def beside(server: AbstractAsyncContextManager[Server]) -> Iterator[tuple[Server, asyncio.AbstractEventLoop]]:
    """Run a device's server in an event loop of its own; its loop is for what has to be done there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        opened = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(20)
        try:
            yield opened, loop
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
