"""From bytes to a checked call and back: codec, sessions, tasks, dispatch."""
