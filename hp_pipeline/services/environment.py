"""Where things lie and what services are told: known to all of this room, and light (no Dagster is imported)."""

from pathlib import Path
from typing import Final

SUPERVISED: Final = "HP_SUPERVISED"
"""Environment variable that marks every process that a supervisor started, and all that these start in turn:
its value is the data folder. By it the run workers of an earlier life are found."""


def dagster_home(data_dir: Path) -> Path:
    """Where Dagster keeps its memory of a data folder (`DAGSTER_HOME`)."""
    return data_dir.resolve() / "dagster"


def dagster_databases(data_dir: Path) -> list[Path]:
    """The SQLite databases that all of Dagster's processes share, whether they exist yet or not."""
    home = dagster_home(data_dir)
    return [home / name for name in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")]


def dagster_environment(data_dir: Path, settings_path: Path | None) -> dict[str, str]:
    """What the environment of a process must hold to work on this data folder and these settings.

    Args:
        data_dir: the data folder.
        settings_path: the owner's settings file; None when there is none, `HP_SETTINGS` is then left out.

    Returns:
        Variables to be laid over the environment of the caller; nothing is changed in this process.
    """
    environment = {
        "DAGSTER_HOME": str(dagster_home(data_dir)),
        "HP_DATA": str(data_dir.resolve()),
        # A tick that looks at a big drop folder on a slow box needs more than the 60 s that Dagster grants.
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300",
        "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS": "300",
        # What a beat tells is stored together (see `services.event_log`).
        "DAGSTER_EVENT_BATCH_SIZE": "200",
        # A traceback of the last moment must be in the log, not in the buffer of a process that was killed.
        "PYTHONUNBUFFERED": "1",
    }
    if settings_path is not None:
        environment["HP_SETTINGS"] = str(settings_path.resolve())
    return environment
