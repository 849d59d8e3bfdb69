"""Logs and metrics set-up: how a process tells what it does.

Called once by each command before it starts its part. Rooms and edges log with
`structlog.get_logger()` and never configure anything.
"""
