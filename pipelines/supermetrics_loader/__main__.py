"""`python -m supermetrics_loader` is the command line."""

from .cli.main import main

main()
