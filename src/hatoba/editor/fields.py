"""The form's fields, made from the schema: what kind each is, its text, and back to a value.

Pure. A field whose text was not changed keeps its value as it was, whatever its text looks like;
an emptied field gives its key back to the default.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Literal

import yaml
from pydantic.fields import FieldInfo

from hatoba.config.durations import format_duration
from hatoba.config.schema import GROUPS, QuayConfig
from hatoba.config.validation import Finding
from hatoba.kernel.json import JsonObject

OTHER_KEYS: Final = "OTHER_KEYS"
"""The field for keys of which the schema knows nothing."""
SECRETS: Final = frozenset({"SECRET_KEY", "DATABASE_SECRET_KEY", "SECURITY_SCANNER_V4_PSK"})
GENERATED: Final = frozenset({"SECRET_KEY", "DATABASE_SECRET_KEY", "SETUP_COMPLETE"})
"""Written once by the operator; data depend on them, so they are not for changing here."""
_KNOWN: Final = QuayConfig.keys()
_HIDDEN: Final = "********"
_TELLING: Final = ("password", "secret", "access_key", "token", "psk")


class Kind(Enum):
    """How a field is shown and read."""

    CHOICE = "choice"
    NUMBER = "number"
    TEXT = "text"
    SECRET = "secret"  # noqa: S105 -- a kind of field
    LINES = "lines"
    YAML = "yaml"


@dataclass(slots=True, frozen=True, kw_only=True)
class Field:
    """A key of config.yaml on the form."""

    key: str
    kind: Kind
    help: str
    default: str
    choices: tuple[tuple[str, str], ...] = ()
    """Values and labels; "" is the default."""
    is_locked: bool = False
    """Belongs to a managed component, or must not change."""

    def text_of(self, config: JsonObject) -> str:
        """Return what the form shows for a configuration; "" for an absent key."""
        if self.key == OTHER_KEYS:
            others = {key: value for key, value in config.items() if key not in _KNOWN}
            return _dump(others) if others else ""
        if self.key not in config or self.kind is Kind.SECRET:
            return ""
        return _text(config[self.key], self.kind)

    def shown_locked(self, config: JsonObject) -> str:
        """Return the value of a locked field with its secrets hidden."""
        if self.key not in config:
            return ""
        if self.kind is Kind.SECRET:
            return _HIDDEN
        return _text(_without_secrets(config[self.key]), self.kind)


@dataclass(slots=True, frozen=True, kw_only=True)
class Section:
    """A group of fields."""

    name: str
    title: str
    help: str
    fields: tuple[Field, ...]


def sections(locked: frozenset[str]) -> tuple[Section, ...]:
    """Return the whole form."""
    found = [
        Section(
            name=group.field_group,
            title=group.title,
            help=_first_paragraph(group.__doc__ or ""),
            fields=tuple(
                _field(name.upper(), info, locked=locked)
                for name, info in group.model_fields.items()
            ),
        )
        for group in GROUPS
    ]
    other = Field(
        key=OTHER_KEYS,
        kind=Kind.YAML,
        help="Keys that this release does not read, as YAML. They are kept.",
        default="",
    )
    found.append(Section(name="Other", title="Other keys", help="", fields=(other,)))
    return tuple(found)


def changed(
    config: JsonObject, form: Mapping[str, str], *, form_sections: tuple[Section, ...]
) -> tuple[JsonObject, list[Finding]]:
    """Return a configuration with the form's texts in it, and what cannot be read of them."""
    result, findings = dict(config), list[Finding]()
    for section in form_sections:
        for field in section.fields:
            text = form.get(field.key)
            if field.is_locked or text is None:
                continue
            text = text.replace("\r\n", "\n").strip()
            if text == field.text_of(config).strip():
                continue
            try:
                _take(result, field, text)
            except (ValueError, yaml.YAMLError) as error:
                findings.append(Finding(field=field.key, message=_sentence(error)))
    return result, findings


def _take(result: JsonObject, field: Field, text: str) -> None:
    if field.key == OTHER_KEYS:
        others = yaml.safe_load(text) if text else {}
        if not isinstance(others, dict) or not all(isinstance(key, str) for key in others):
            raise ValueError("must be a mapping from keys to values")
        if known := sorted(_KNOWN & others.keys()):
            raise ValueError(f"holds {', '.join(known)}, which have fields of their own")
        for key in [key for key in result if key not in _KNOWN]:
            del result[key]
        result |= others
    elif text:
        result[field.key] = _value(field, text)
    else:
        result.pop(field.key, None)


def _value(field: Field, text: str) -> Any:
    match field.kind:
        case Kind.NUMBER:
            try:
                return int(text)
            except ValueError as error:
                raise ValueError("must be a whole number") from error
        case Kind.LINES:
            return [line.strip() for line in text.split("\n") if line.strip()]
        case Kind.YAML:
            return yaml.safe_load(text)
        case Kind.CHOICE if text in {"true", "false"}:
            return text == "true"
        case _:
            return text


def _field(key: str, info: FieldInfo, *, locked: frozenset[str]) -> Field:
    default = info.get_default(call_default_factory=True, validated_data={})
    kind, choices = _kind(key, info.annotation, default)
    return Field(
        key=key,
        kind=kind,
        help=info.description or "",
        default=_text(_plain(default), kind) if default not in (None, "", [], {}) else "",
        choices=choices,
        is_locked=key in locked or key in GENERATED,
    )


def _kind(key: str, annotation: Any, default: Any) -> tuple[Kind, tuple[tuple[str, str], ...]]:
    if key in SECRETS:
        return Kind.SECRET, ()
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        [annotation] = [option for option in options if option is not type(None)]
        options = typing.get_args(annotation)
    if annotation is bool:
        return Kind.CHOICE, _yes_or_no(default=bool(default))
    if typing.get_origin(annotation) is Literal:
        named = tuple((str(option), str(option)) for option in options)
        return Kind.CHOICE, (("", f"Default ({default})"), *named)
    return _open_kind(annotation, options), ()


def _yes_or_no(*, default: bool) -> tuple[tuple[str, str], ...]:
    word = "yes" if default else "no"
    return ("", f"Default ({word})"), ("true", "Yes"), ("false", "No")


def _open_kind(annotation: Any, options: tuple[Any, ...]) -> Kind:
    if annotation is int:
        return Kind.NUMBER
    if annotation is str or annotation is timedelta or timedelta in options:
        return Kind.TEXT
    return Kind.LINES if typing.get_origin(annotation) is list else Kind.YAML


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _text(value: Any, kind: Kind) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind is Kind.LINES and isinstance(value, list):
        return "\n".join(str(item) for item in value)
    if kind is Kind.YAML or isinstance(value, dict | list):
        return _dump(value)
    return "" if value is None else str(value)


def _dump(value: Any) -> str:
    return (
        yaml.safe_dump(value, sort_keys=True, default_flow_style=False)
        .removesuffix("...\n")
        .strip()
    )


def _without_secrets(value: Any) -> Any:
    """Hide what a glance over somebody's shoulder must not learn."""
    if isinstance(value, dict):
        return {
            key: _HIDDEN
            if any(word in str(key).lower() for word in _TELLING) and item
            else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, str) and "://" in value:
        scheme, _, rest = value.partition("://")
        credentials, at, host = rest.rpartition("@")
        if at:
            return f"{scheme}://{credentials.partition(':')[0]}:{_HIDDEN}@{host}"
    return value


def _sentence(error: Exception) -> str:
    if isinstance(error, yaml.YAMLError):
        return "is not YAML: " + " ".join(str(error).split())
    return str(error)


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().split("\n\n")[0].split())
