"""Where tables rest: Parquet files of partitions, and the DuckDB database of views over them.

Knows nobody's meaning: an asset is a path, a partition is a key, a table is a set of files.
"""

from hp_pipeline.lake.catalogue import Column, Table, publish_catalogue
from hp_pipeline.lake.content import content_of
from hp_pipeline.lake.errors import DamagedPartitionError, StorageError
from hp_pipeline.lake.files import replace_file
from hp_pipeline.lake.months import utc_today
from hp_pipeline.lake.partitions import Lake
from hp_pipeline.lake.receipts import Receipt

__all__ = [
    "Column",
    "DamagedPartitionError",
    "Lake",
    "Receipt",
    "StorageError",
    "Table",
    "content_of",
    "publish_catalogue",
    "replace_file",
    "utc_today",
]
