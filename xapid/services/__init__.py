"""What the classes of the API do: one module per class with behaviour."""
