"""Where readings come from: one module per protocol, each yields frames of readings (see `readings`).

Archives are asked for a time range (`influxdb`, in Flux or InfluxQL), files are read (`files`: CSV, Parquet,
`line_protocol`) and taken in once from a folder (`drop_folder`). `probe` shows an owner what an archive holds.
"""
