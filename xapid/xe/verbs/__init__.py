"""The commands whose names or arguments are older than the API, or that do more than one call."""
