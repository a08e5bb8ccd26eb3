"""What a supervisor does for any service: small shell programs stand in for Dagster's."""

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from hp_pipeline.services.supervisor import Backoff, free_port, rotate, supervised_processes
from hp_pipeline_tests.services.lives import Life, alive, kill, no_survivors, wait_for

SCRIPT = """
import asyncio, sys
from pathlib import Path
from hp_pipeline.services.supervisor import Backoff, Service, Supervision
def sh(name, text, ready=None):
    return Service(name, ("sh", "-c", text), ready)
data = Path(sys.argv[1])
sys.exit(asyncio.run(Supervision(data, [SERVICES], environment={"HP_DATA": str(data)}, OPTIONS).run()))
"""


def script(services: str, options: str = "backoff=Backoff(first=0.05)") -> str:
    return SCRIPT.replace("SERVICES", services).replace("OPTIONS", options)


def test_a_service_that_keeps_dying_waits_longer_and_shows_its_last_words(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with no_survivors(data):
        life = Life(data, script("""sh("steady", "sleep 60"), sh("broken", "echo no such register; exit 3")"""))
        wait_for(lambda: life.said.count("exit code 3") >= 6, "six deaths", seconds=20)
        waits = [float(wait) for wait in re.findall(r"again in ([0-9.]+) s", life.said)]
        assert waits[:6] == pytest.approx([0.05 * 2**n for n in range(6)], abs=0.06)
        assert "| no such register" in life.said
        assert "broken.log" in life.said
        assert alive(life.pid("steady"))
        assert life.stop() < 10


def test_the_others_wait_for_the_first_service_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    probe = """lambda: None if (data / "open").exists() else "still closed" """
    with no_survivors(data):
        options = 'when_ready=lambda: (data / "all ready").touch()'
        services = (
            f"""sh("first", "sleep 60", {probe}), sh("never", "sleep 60", lambda: "no"), sh("third", "sleep 60")"""
        )
        life = Life(data, script(services, options))
        wait_for(lambda: "first" in life.state.get("services", {}), "the first service")
        time.sleep(0.5)
        assert list(life.state["services"]) == ["first"]
        (data / "open").touch()
        wait_for(lambda: len(life.state["services"]) == 3, "the others")
        assert not (data / "all ready").exists()
        life.stop()


def test_a_stubborn_service_is_killed_in_time_and_workers_go_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    stubborn = "trap '' TERM INT HUP; while :; do sleep 0.2; done"
    worker = "setsid sleep 60 & echo $! > $HP_DATA/worker; sleep 60"  # outlives its parent, as run workers do
    with no_survivors(data):
        life = Life(data, script(f"""sh("code server", "{worker}"), sh("stubborn", "{stubborn}")"""))
        wait_for(lambda: len(life.state.get("services", {})) == 2, "all services")
        wait_for((data / "worker").exists, "the worker")
        assert life.stop() < 10
        assert supervised_processes(data) == []


@pytest.mark.parametrize("options", ["parent_death_signal=True", "parent_death_signal=False"])
def test_services_die_with_a_supervisor_that_is_killed(tmp_path: Path, options: str) -> None:
    """Also where the system has no signal for the death of a parent, as on macOS: a guardian sees to it."""
    data = tmp_path / "data"
    with no_survivors(data):
        life = Life(data, script("""sh("a", "exec sleep 60"), sh("b", "exec sleep 60")""", options))
        wait_for(lambda: len(life.state.get("services", {})) == 2, "all services")
        services = [life.pid("a"), life.pid("b")]
        time.sleep(1)  # the guardian has to be there before it can guard
        kill(life.process.pid)
        life.process.wait()
        wait_for(lambda: not any(map(alive, services)), "the end of the services", seconds=5)
        wait_for(lambda: supervised_processes(data) == [], "the end of the guardian", seconds=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_end_it_too(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    with no_survivors(data):
        life = Life(data, script("""sh("a", "exec sleep 60")"""))
        wait_for(lambda: life.state.get("services"), "the service")
        life.process.send_signal(number)
        assert life.process.wait(timeout=10) == 0
        assert supervised_processes(data) == []


def test_a_preparation_that_fails_is_shown_and_nothing_is_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with no_survivors(data):
        options = """preparation=("sh", "-c", "echo the disk is full >&2; exit 1")"""
        life = Life(data, script("""sh("a", "sleep 60")""", options))
        assert life.process.wait(timeout=20) == 1
        assert "| the disk is full" in life.said
        assert not (data / "logs" / "a.log").exists()


def test_logs_stay_bounded_while_the_service_writes(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(6):
            writer.write(b"%d" % number * 1000)
            rotate(log, keep=3)
            assert log.stat().st_size == 0
        writer.write(b"later")
    assert log.read_bytes() == b"later"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    assert (tmp_path / "a.log.1").read_bytes() == b"5" * 1000


def test_backoff_doubles_up_to_a_bound() -> None:
    backoff = Backoff(first=0.5, most=60)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 8, 1000)] == [0.5, 1, 2, 60, 60]


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert free_port(taken) > taken
        assert free_port(taken, besides={taken + 1}) > taken + 1


def test_a_changed_file_starts_the_service_anew_if_it_can_be_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    settings = data / "hp.yaml"
    settings.write_text("good: 1")
    service = """Service("reader", ("sh", "-c", "cd $HP_DATA; { cat hp.yaml; echo; } >> read; exec sleep 60"),
        watches=(data / "hp.yaml",), check=("grep", "good", str(data / "hp.yaml")))"""
    with no_survivors(data):
        life = Life(data, script(service, "watch_interval=0.1"))
        wait_for(lambda: life.state.get("services"), "the service")
        time.sleep(0.5)
        first = life.pid("reader")
        settings.write_text("bad: 2")
        wait_for(lambda: "hp.yaml was changed, but cannot be used" in life.said, "the complaint", seconds=10)
        assert alive(first)
        settings.write_text("good: 3")
        wait_for(lambda: life.pid("reader") != first, "the new one", seconds=10)
        wait_for(
            lambda: (data / "read").read_text().split("\n")[:2] == ["good: 1", "good: 3"], "what it read", seconds=5
        )
        assert "starting it again" not in life.said
        life.stop()


def test_a_service_is_started_once_it_is_needed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    later = """Service("collector", ("sh", "-c", "exec sleep 60"), wanted=lambda: (data / "live").exists())"""
    options = 'when_ready=lambda: (data / "all ready").touch(), watch_interval=0.1'
    with no_survivors(data):
        life = Life(data, script(f"""sh("first", "exec sleep 60"), {later}""", options))
        wait_for((data / "all ready").exists, "ready without it")
        assert list(life.state["services"]) == ["first"]
        (data / "live").touch()
        wait_for(lambda: len(life.state["services"]) == 2, "the collector", seconds=10)
        assert "The collector is needed now: it is started." in life.said
        (data / "live").unlink()
        kill(life.pid("collector"))
        wait_for(lambda: "starting it again" in life.said, "that it is kept", seconds=10)
        life.stop()


def test_the_state_names_every_service(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with no_survivors(data):
        life = Life(data, script("""sh("a", "exec sleep 60")""", 'pages="http://127.0.0.1:3000"'))
        wait_for(lambda: life.state.get("services"), "the service")
        state = json.loads((data / "dagster" / "services.json").read_text())
        assert (state["pid"], state["pages"]) == (life.process.pid, "http://127.0.0.1:3000")
        assert alive(state["services"]["a"])
        life.stop()
        assert not (data / "dagster" / "services.json").exists()
