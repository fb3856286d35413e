"""What guests tell about themselves through xenstore."""
