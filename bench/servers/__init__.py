"""The servers that are measured, on loopback; each is owned by a context and ended by it."""
