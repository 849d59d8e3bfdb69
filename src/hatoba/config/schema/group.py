"""What all groups of configuration keys have in common."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """A group of keys that belong together, shown as one section of the config editor."""

    title: ClassVar[str]
    """What the section is called."""
    field_group: ClassVar[str]
    """Quay's name of the group, which `quay-managed-fieldgroups` speaks of."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=str.upper,
        use_attribute_docstrings=True,
        strict=True,
        hide_input_in_errors=True,
    )
