"""Advisories: where they come from, how they are read, when they are read again."""
