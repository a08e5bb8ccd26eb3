"""Running the pipeline as services on one machine: Dagster's instance, its three processes, its housekeeping.

`supervisor` starts and keeps up the code server, the webserver and the daemon. `instance` prepares Dagster's home
and repairs what a crash left behind. `maintenance` keeps Dagster's memory of runs below a set size and age.
Nothing here knows assets, readings or heat pumps.
"""
