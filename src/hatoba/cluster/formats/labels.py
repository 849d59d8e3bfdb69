"""What a label's key and value may look like, in the words of the API's refusals.

Spec: Kubernetes "Labels and Selectors", syntax and character set.
"""

import re
from typing import Final

_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_CHARACTERS: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    f" validation is '{_NAME}')"
)
_VALUE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    f" '12345', regex used for validation is '({_NAME})?')"
)
_OPTIONAL: Final = "an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_PREFIX: Final = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters,"
    " '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex"
    f" used for validation is '{_SUBDOMAIN}')"
)


def key_faults(key: str) -> list[str]:
    """Return what is wrong with a label's key (a qualified name)."""
    faults = []
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [f"a qualified name {_CHARACTERS} with {_OPTIONAL}"]
    if slash and not prefix:
        faults.append("prefix part must be non-empty")
    elif slash and not re.fullmatch(_SUBDOMAIN, prefix):
        faults.append(_PREFIX)
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part must be no more than 63 characters")
    if not re.fullmatch(_NAME, name):
        faults.append(f"name part {_CHARACTERS}")
    return faults


def value_faults(value: str) -> list[str]:
    """Return what is wrong with a label's value."""
    faults = []
    if len(value) > 63:
        faults.append("must be no more than 63 characters")
    if not re.fullmatch(f"({_NAME})?", value):
        faults.append(_VALUE)
    return faults
