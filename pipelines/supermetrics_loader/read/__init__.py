"""Reads what was loaded: queries, connectors as of a moment, differences, changes, the overview, exports."""
