"""The demo street: the physics of a house with a heat pump, its sensors, its faults, and the ground truth.

Read in this order: `weather` (what the sky does) → `parameters` (what stands where) → `house` (what happens,
step by step) → `truth` (what the pipeline should find) → `sensors` and `faults` (what it gets to see) →
`scoring` (how well it found it). `scenarios` are golden weeks for tests, `demo` writes the demo house.

Only the command line and the tests import this package; the product never does.
"""
