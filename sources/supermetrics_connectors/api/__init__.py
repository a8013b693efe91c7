"""Client of the Supermetrics API: requests, checked responses, optional endpoints."""
