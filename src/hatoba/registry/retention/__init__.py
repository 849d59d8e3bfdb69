"""What is kept, and the online collection of what nothing refers to any more."""
