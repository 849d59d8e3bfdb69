"""Benchmarks: Hatoba as deployed beside Debian's docker-registry, driven in turn by one client.

`python -m bench` (or `make bench`) runs the table. A group of rows is one file in `groups/`;
`servers/` starts what is measured, `load/` is the client, `report.py` prints.
"""
