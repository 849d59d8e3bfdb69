"""The edge /api/v1: one file per public resource, each a table of routes and their handlers."""
