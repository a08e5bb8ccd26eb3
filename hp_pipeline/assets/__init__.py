"""What is kept up to date: stages read partitions of the lake, call a transform and write partitions of the lake.

`stages` knows no Dagster, so that the command line brings everything up to date in its own process; the Dagster assets
are thin wrappers around the same stages.
"""
