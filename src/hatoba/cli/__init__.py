"""The one command, `hatoba`."""
