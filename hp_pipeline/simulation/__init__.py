"""The demo street: the physics of a house with a heat pump, its sensors, its faults, and the ground truth.

Read in this order: `weather` (what the sky does) → `parameters` (what stands where) → `house` (what happens,
step by step) → `truth` (what the pipeline should find) → `sensors` and `faults` (what it gets to see) →
`scoring` (how well it found it) → `devices` (servers that speak the devices' protocols) → `street` (all of them,
served for `hp-pipeline run`). `scenarios` are golden weeks for tests, and `demo` writes one house as files, for tests
and benchmarks that need nothing but a house.

Only the command line and the tests import this package; the product never does.
"""
