"""Where live readings land: the store that survives kill -9 and a power cut, the collector that fills it, and how its
rows become readings of the lake.

Nothing here needs polars, DuckDB or Dagster: the collector is small and starts at once.
"""
