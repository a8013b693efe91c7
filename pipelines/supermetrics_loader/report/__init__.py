"""The HTML report about a loaded dataset."""
