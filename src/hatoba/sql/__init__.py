"""Relational databases: engines, transactions, migrations and claims.

Used by the registry (PostgreSQL, or SQLite when it stands alone) and by the scanner. Knows no
table of theirs.
"""
