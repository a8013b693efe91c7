"""Loads the connectors, from a clone: `python pipelines/load_connectors.py --help`."""

from supermetrics_loader.cli.main import main

if __name__ == "__main__":
    main()
