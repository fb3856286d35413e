"""What the classes of the API do."""
