"""Where tables rest: one Parquet file per asset and partition, and the DuckDB database of views over them.

Knows nobody's meaning: an asset is a path, a partition is a key, a table is a set of files.
"""

from hp_pipeline.lake.catalogue import Column, Table, publish_catalogue
from hp_pipeline.lake.partitions import DamagedPartitionError, Lake, Receipt, StorageError

__all__ = ["Column", "DamagedPartitionError", "Lake", "Receipt", "StorageError", "Table", "publish_catalogue"]
