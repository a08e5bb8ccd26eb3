"""Listens as the collector does and dies by SIGKILL at the moment named: `python -m … FOLDER PORT MOMENT AFTER`.

Every delivery is committed durably to `<FOLDER>/landing.sqlite`. MOMENT is `before`, `after` (a commit) or `never`;
AFTER is the number of deliveries that go well before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from hp_pipeline.sources.live import Polled
from hp_pipeline.sources.mqtt import open_source
from hp_pipeline_tests.sources.mqtt.listening import source


async def _listen(folder: Path, port: int, moment: str, after: int) -> None:
    database = sqlite3.connect(folder / "landing.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS readings (point, time, value, PRIMARY KEY (point, time))")
    deliveries = 0

    async def deliver(polled: Polled) -> None:
        nonlocal deliveries
        deliveries += 1
        if moment == "before" and deliveries > after:
            os.kill(os.getpid(), signal.SIGKILL)
        database.execute("BEGIN")
        for reading in polled.readings:
            assert reading.time is not None
            database.execute(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?)",
                (reading.point, reading.time.isoformat(), reading.value),
            )
        database.execute("COMMIT")
        if moment == "after" and deliveries > after:
            os.kill(os.getpid(), signal.SIGKILL)

    listener = open_source(source(port, {"topic": "counter", "time": "t"}))
    task = asyncio.create_task(listener.listen(deliver))
    while not listener.is_listening and not task.done():
        await asyncio.sleep(0.01)
    print("listening", flush=True)
    await task


if __name__ == "__main__":
    asyncio.run(_listen(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
