"""A small settings file without a mistake, for tests to change."""

HOUSE = """\
site: {name: Our house, time_zone: Europe/Berlin, start: 2024-01-01}
heat_pumps:
  - id: daikin
    frame_interval: 30s
    inputs:
      - source: influx
        profile: espaltherma_home_assistant
    rules: {hold: 10min}
sources:
  - id: influx
    kind: influxdb
    version: 2
    url: http://127.0.0.1:8086
    org: home
    bucket: homeassistant
    token: ${INFLUXDB_TOKEN}
  - id: old_files
    kind: files
    separator: ";"
    decimal: ","
meters:
  - {id: m, heat_pump: daikin, measures: electrical, signal: electrical_power, includes: [fan]}
rules: {session_gap: 20min}
tariffs:
  - {name: day, from: 2024-01-01, price_per_kwh: 0.31}
outputs:
"""

TOKEN = "hvWq8-token-of-the-test"
ENVIRONMENT = {"INFLUXDB_TOKEN": TOKEN}
