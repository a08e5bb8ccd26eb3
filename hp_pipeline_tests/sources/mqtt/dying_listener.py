"""Listens as the collector does and dies by SIGKILL at the moment named: `python -m … FOLDER PORT MOMENT AFTER`.

Every delivery is committed to the landing of FOLDER. MOMENT is `before`, `after` (a commit) or `never`; AFTER is the
number of deliveries that go well before. A broker that goes away is connected to again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hp_pipeline.landing.store import Attempt, Landing
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.mqtt import open_source
from hp_pipeline_tests.sources.mqtt.listening import source


async def _listen(landing: Landing, port: int, moment: str, after: int) -> None:
    deliveries = 0

    async def deliver(polled: Polled) -> None:
        nonlocal deliveries
        deliveries += 1
        if moment == "before" and deliveries > after:
            os.kill(os.getpid(), signal.SIGKILL)
        now = datetime.now(UTC)
        landing.record([Attempt("broker", now, timedelta(), Outcome.ok, polled, time=now)])
        if moment == "after" and deliveries > after:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = source(port, "counter")
    listener = open_source(settings, state=landing.state(settings.id))
    told = False
    while True:
        task = asyncio.create_task(listener.listen(deliver))
        while not listener.is_listening and not task.done():
            await asyncio.sleep(0.01)
        if not told:
            print("listening", flush=True)
            told = True
        try:
            await task
        except PollError:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(_listen(Landing(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
