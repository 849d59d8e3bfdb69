"""Accounts for other rooms: questions that they ask inside their own transactions.

The store itself is private to this room; services are for questions with a connection of their
own.
"""

from hatoba.registry.accounts.store import account_of, by_ids, find

__all__ = ["account_of", "by_ids", "find"]
