"""Where readings come from: one module per protocol, each yields frames of readings.

Archives are asked for a time range (`influxdb`), files are taken in once (`files`).
"""
