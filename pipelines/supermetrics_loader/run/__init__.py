"""Loads: the pipeline and its destination, shards, locks, results and failures."""
