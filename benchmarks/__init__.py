"""What is measured about the pipeline, runnable by anyone: `make bench`, or `python -m benchmarks [name…]`.

Each module is one benchmark; its docstring says what it measures and what is aimed at. Results go to
`benchmarks/results/`, which is not kept in git.
"""
