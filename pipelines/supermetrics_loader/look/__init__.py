"""Looks at what was loaded: the report, differences between versions, the command that shows rows."""
