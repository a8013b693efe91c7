"""Runs: where to, which teams, one at a time, and what happened."""
