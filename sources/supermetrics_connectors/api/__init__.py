"""The API of Supermetrics: its requests, and what they answer."""
