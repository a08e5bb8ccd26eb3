"""Canonical signals, device profiles, the rules' parameters and the tables' columns: the words of the field, as data.

Knows nobody: neither the settings nor polars nor Dagster.
"""
