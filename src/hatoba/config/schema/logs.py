"""The audit log."""

from typing import ClassVar, Literal

from pydantic import Field

from hatoba.config.durations import Duration, parse_duration
from hatoba.config.schema.group import Group


class LogSettings(Group):
    """Who did what."""

    title: ClassVar[str] = "Action log"
    field_group: ClassVar[str] = "ActionLogArchiving"

    logs_model: Literal["database"] = "database"
    """Where audit rows go."""
    allow_pulls_without_strict_logging: bool = False
    """True lets a pull succeed whose audit row cannot be written."""
    allow_without_strict_logging: bool = False
    """True lets any action succeed whose audit row cannot be written."""
    feature_action_log_rotation: bool = False
    """True moves old audit rows to the storage."""
    action_log_rotation_threshold: Duration = parse_duration("30d")
    """How old an audit row grows before it is moved."""
    action_log_max_page: int | None = Field(default=None, ge=1)
    """The last page of logs that the API serves."""
