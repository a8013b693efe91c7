"""JSON documents, such as a configuration: canonical text, paths, the secrets typed into them. Knows no table."""
