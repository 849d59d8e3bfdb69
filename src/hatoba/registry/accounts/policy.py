"""Rules of names, passwords and repeated logins. Pure."""

import re
from datetime import datetime, timedelta
from typing import Final

from hatoba.registry.accounts.errors import InvalidAccountName, InvalidEmail, InvalidPassword

NAME_EXPRESSION: Final = "^([a-z0-9]+(?:[._-][a-z0-9]+)*)$"
_NAME = re.compile(NAME_EXPRESSION)
_WHITE_SPACE = re.compile(r"\s")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NAME_LENGTHS: Final = range(2, 256)
MINIMUM_PASSWORD_LENGTH: Final = 8
THROTTLE_STEP: Final = timedelta(milliseconds=500)
THROTTLE_DOUBLINGS: Final = 20


def name_complaint(name: str, *, noun: str = "Namespace") -> str | None:
    """Say what is wrong with a name of a namespace, team or robot; None when nothing is."""
    if len(name) not in NAME_LENGTHS:
        return f"{noun} must be between 2 and 255 characters in length"
    # fullmatch and not match: `$` would let a trailing newline through.
    if _NAME.fullmatch(name) is None:
        return f"Namespace must match expression {NAME_EXPRESSION}"
    return None


def check_username(name: str, *, noun: str = "namespace") -> str:
    """Return a name that is in order.

    Raises:
        InvalidAccountName: with Quay's sentence.
    """
    complaint = name_complaint(name, noun="Team" if noun == "team name" else "Namespace")
    if complaint is not None:
        raise InvalidAccountName(f"Invalid {noun} {name}: {complaint}")
    return name


def check_robot_name(name: str) -> str:
    """Return the short name of a robot that is in order.

    Raises:
        InvalidAccountName: with Quay's sentence.
    """
    complaint = name_complaint(name)
    if complaint is not None:
        raise InvalidAccountName(f"The name for the robot '{name}' is invalid: {complaint}")
    return name


def check_password(password: str) -> str:
    """Return a password that may be set.

    Raises:
        InvalidPassword: shorter than 8 characters, or with white space.
    """
    if len(password) < MINIMUM_PASSWORD_LENGTH or _WHITE_SPACE.search(password):
        raise InvalidPassword
    return password


def check_email(email: str) -> str:
    """Return an address that looks like one; asked where mail is sent at all.

    Raises:
        InvalidEmail: it does not.
    """
    if _EMAIL.fullmatch(email) is None:
        raise InvalidEmail(f"Invalid email address: {email}")
    return email


def next_attempt_at(*, failures: int, last_failure: datetime) -> datetime:
    """Return when the next login may be tried: twice as late after each failure."""
    doublings = min(failures, THROTTLE_DOUBLINGS)
    return last_failure + THROTTLE_STEP * float(2**doublings - 1)
