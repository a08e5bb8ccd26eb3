"""Dagster's daemon as a process, with fewer signs of life.

`dagster-daemon run` has no setting for it: each of its six daemons writes that it is alive every 30 seconds, and each
time that is a transaction of its own, 200 MB on the disk a day. Whoever asks (the pages, `services.supervisor`) takes
a daemon for alive for half an hour after its last sign, so one every five minutes says the same.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from dagster import DagsterInstance
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

SIGN_OF_LIFE_SECONDS: Final = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon of the instance in DAGSTER_HOME until a signal ends it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workspace", type=Path, help="the workspace.yaml that says where the code is")
    workspace: Path = parser.parse_args(arguments).workspace
    setup_interrupt_handlers()
    try:
        with ExitStack() as stack:
            stack.enter_context(capture_interrupts())
            instance = stack.enter_context(DagsterInstance.get())
            controller = stack.enter_context(
                daemon_controller_from_instance(
                    instance,
                    WorkspaceFileTarget([str(workspace)]),
                    heartbeat_interval_seconds=SIGN_OF_LIFE_SECONDS,
                )
            )
            controller.check_daemon_loop()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
