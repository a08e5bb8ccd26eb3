"""What Dagster loads: the owner's settings become assets, jobs, schedules and sensors. It composes, no more.

Reads the settings file named by `HP_SETTINGS` (see `settings.settings_path`) and nothing else: no other file but
profiles named there, no socket, no clock.
"""

from __future__ import annotations

import dagster as dg

from hp_pipeline.assets.exports import export_assets
from hp_pipeline.assets.heat_pump import heat_pump_assets
from hp_pipeline.assets.landed import landed_asset, live_sources, remembers, repair_job
from hp_pipeline.assets.partitions import utc_days
from hp_pipeline.assets.readings import readings_assets, take_in_job
from hp_pipeline.assets.solar import solar_assets
from hp_pipeline.assets.workspace import SolarPlant, Workspace
from hp_pipeline.automation.jobs import Job, beat_job, figures_job, maintenance_job, sweep_job
from hp_pipeline.automation.landed import gaps_sensor, landed_job, landed_readings_sensor
from hp_pipeline.automation.schedules import export_schedules, keep_up, nightly
from hp_pipeline.automation.sensors import drop_folder_sensor, new_readings_sensor
from hp_pipeline.settings import FilesSource, InfluxdbSource, data_dir, load_settings, settings_path


def build_definitions(workspace: Workspace) -> dg.Definitions:
    """Everything of a house."""
    settings = workspace.settings
    zone = settings.site.time_zone
    days = utc_days(settings)
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *readings_assets(workspace, days),
        *(landed_asset(workspace, source, days) for source in live_sources(workspace)),
    ]
    for plant in workspace.plants:
        made = solar_assets(plant, days) if isinstance(plant, SolarPlant) else heat_pump_assets(plant, days)
        assets += [*made, *export_assets(plant, days)]
    figures, sweep, maintenance = figures_job(workspace), sweep_job(workspace), maintenance_job()
    jobs: list[Job] = [figures, sweep, maintenance]
    schedules = [nightly(sweep, "15 3 * * *", zone), nightly(maintenance, "45 3 * * *", zone)]
    sensors = [new_readings_sensor(workspace, figures)]
    for source in settings.sources:
        if isinstance(source, FilesSource):
            job = take_in_job(workspace, source)
            jobs.append(job)
            sensors.append(drop_folder_sensor(workspace, source, job))
        elif isinstance(source, InfluxdbSource):
            keep_up_job, schedule = keep_up(workspace, source)
            jobs.append(keep_up_job)
            schedules.append(schedule)
        elif remembers(source):
            again = repair_job(workspace, source)
            jobs.append(again)
            sensors.append(gaps_sensor(workspace, source, again))
    live = live_sources(workspace)
    if live:
        landed, beat = landed_job(workspace, live), beat_job(workspace, live)
        jobs += [landed, beat]
        sensors.append(landed_readings_sensor(workspace, live, beat, landed))
    export_jobs, exports = export_schedules(workspace)
    return dg.Definitions(
        assets=assets,
        jobs=[*jobs, *export_jobs],
        schedules=[*schedules, *exports],
        sensors=sensors,
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the house whose settings the environment names; without settings there is nothing."""
    path = settings_path(None)
    if path is None:
        raise FileNotFoundError(
            "There is no settings file: set HP_SETTINGS to its path, or start with `hp-pipeline run`, which shows a "
            "demo house when there is none."
        )
    return build_definitions(Workspace(load_settings(path), data_dir(None)))
