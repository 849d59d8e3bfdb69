"""Text that every store can keep."""


def is_storable(value: str) -> bool:
    """Say whether a text can be stored: no NUL (PostgreSQL), no half of a surrogate pair (UTF-8).

    JSON can write both as escapes (RFC 8259, sections 7 and 8.2).
    """
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
