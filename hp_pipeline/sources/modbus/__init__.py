"""Heat pumps that speak Modbus: over TCP, on a serial line, or behind a network adapter of one. Only reads."""

from hp_pipeline.sources.modbus.source import RegisterSource, line_address, map_of, open_source

__all__ = ["RegisterSource", "line_address", "map_of", "open_source"]
