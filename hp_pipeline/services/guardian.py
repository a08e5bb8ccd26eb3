"""Where the system cannot kill children with their parent: a process that waits for the supervisor's end.

Its standard input is a pipe that only the supervisor holds open. When the supervisor dies, however it dies, the
pipe ends, and the guardian kills what the supervisor had started.
"""

import os
import signal
import sys
from pathlib import Path

from hp_pipeline.services.supervisor import end_processes, supervised_processes


def main() -> int:
    """Wait for the end of standard input, then kill the services of the data folder named by the argument."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it must outlive the supervisor by a moment
    sys.stdin.buffer.read()
    mine = os.getpid()
    end_processes([process for process in supervised_processes(Path(sys.argv[1])) if process.pid != mine], 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
