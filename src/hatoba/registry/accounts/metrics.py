"""Metrics of this room."""

from prometheus_client import Counter

PASSWORD_HASHES = Counter(
    "hatoba_accounts_password_hashes",
    "Passwords hashed, to be stored or to be compared: the dear part of signing in.",
)
