"""The application around the source: loads, looks at what was loaded, and a sandbox of the API."""
