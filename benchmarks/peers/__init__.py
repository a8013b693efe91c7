"""The same table by other tools, each as its documentation shows.

Run one as `python -m benchmarks.peers.NAME URL TEAMS CONFIGS FILE`. It fills `peer.connectors` of a DuckDB file; with
configurations, the column `configuration` has them.
"""
