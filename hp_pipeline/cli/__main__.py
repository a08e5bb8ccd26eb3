"""`python -m hp_pipeline.cli` is `hp-pipeline`."""

from hp_pipeline.cli import main

if __name__ == "__main__":
    main()
