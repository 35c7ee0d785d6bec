"""Initial atoms."""
