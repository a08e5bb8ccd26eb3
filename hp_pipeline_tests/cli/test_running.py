"""What `run` keeps up."""

from __future__ import annotations

from pathlib import Path

from hp_pipeline.landing.health import ask
from hp_pipeline_tests.services.lives import Life, no_survivors, wait_for

SETTINGS = """\
site: {name: House, time_zone: Europe/Berlin, start: 2024-01-15}
heat_pumps: [{id: pump, inputs: [{source: house, profile: luxtronik}]}]
sources:
  - {id: house, kind: files}
"""
LIVE = "  - {id: controller, kind: luxtronik, host: 127.0.0.1, port: 9}\n"

SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from hp_pipeline.cli.common import locate
from hp_pipeline.cli.running import collector_service
from hp_pipeline.services.supervisor import Service, Supervision
data = Path(sys.argv[1])
first = Service("first", ("sh", "-c", "exec sleep 60"))
collector = collector_service(locate(str(data / "hp.yaml"), str(data)))
sys.exit(asyncio.run(Supervision(data, [first, collector], environment={}, watch_interval=0.1).run()))
"""


def test_the_collector_is_started_once_the_settings_name_a_live_source(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    settings = data / "hp.yaml"
    settings.write_text(SETTINGS)
    with no_survivors(data):
        life = Life(data, SUPERVISOR)
        wait_for(lambda: life.state.get("services"), "the first service")
        settings.write_text(SETTINGS + "  - {kind: luxtronik}\n")  # just being written
        settings.write_text(SETTINGS + LIVE)
        answer = wait_for(lambda: ask(data), "the collector", seconds=30)
        assert [source["id"] for source in answer["sources"]] == ["controller"]
        assert "The collector is needed now: it is started." in life.said
        life.stop()
