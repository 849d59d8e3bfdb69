"""The editor's page: plain HTML that works without scripts.

Every value goes through `Markup.format`, which escapes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from hatoba.config.validation import Finding
from hatoba.editor.fields import Field, Kind, Section
from hatoba.kernel.json import JsonObject

_PAGE: Final = Markup("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/static/editor.css">
</head>
<body>
<a class="skip" href="#form">Skip to the configuration</a>
<header>
<div class="bar"><p class="brand">Hatoba <span>Config editor</span></p><p class="of">{of}</p></div>
</header>
<div class="page">
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
<h1>{heading}</h1>
{notices}
{form}
</main>
</div>
</body>
</html>
""")
_FORM: Final = Markup("""<form id="form" method="post" action="/">
<input type="hidden" name="form_token" value="{token}">
{sections}
{files}
<div class="actions">
{buttons}
</div>
</form>
""")
_SECTION: Final = Markup("""<section id="section-{name}" aria-labelledby="title-{name}">
<h2 id="title-{name}">{title}</h2>
<p class="lead">{help}</p>
{fields}
</section>
""")
_FIELD: Final = Markup("""<div class="field{state}">
<label for="field-{key}">{label} <code>{key}</code></label>{badge}
<p class="help" id="help-{key}">{help}{default}</p>
{fault}{control}
</div>
""")
_FAULT: Final = Markup('<p class="fault" id="fault-{key}">{message}</p>\n')
_INPUT: Final = Markup(
    '<input id="field-{key}" name="{key}" type="{type}" value="{value}" '
    'placeholder="{placeholder}" autocomplete="off" spellcheck="false"{attributes}>'
)
_AREA: Final = Markup(
    '<textarea id="field-{key}" name="{key}" rows="{rows}" spellcheck="false" '
    'placeholder="{placeholder}"{attributes}>\n{value}</textarea>'
)
_SELECT: Final = Markup('<select id="field-{key}" name="{key}"{attributes}>{options}</select>')
_OPTION: Final = Markup('<option value="{value}"{selected}>{label}</option>')
_ACRONYMS: Final = frozenset(
    {"api", "db", "id", "jwt", "oci", "psk", "ssl", "ssrf", "tls", "uri", "url", "v2", "v4", "xhr"}
)
_LOCKED: Final = Markup('<span class="badge">set by the operator</span>')
_NOTICE: Final = Markup('<div class="notice {kind}" role="{role}">{content}</div>\n')


@dataclass(slots=True, frozen=True, kw_only=True)
class View:
    """What a page shows."""

    registry: str
    """`namespace/name`; "" where no operator is known."""
    sections: Sequence[Section]
    config: JsonObject
    """As mounted."""
    texts: Mapping[str, str]
    """What the user typed, where he did."""
    findings: Sequence[Finding]
    files: Sequence[str]
    token: str
    notice: str = ""
    refusal: str = ""
    """What the operator said when it did not take the configuration."""


def render(view: View) -> str:
    """Return the page."""
    links = Markup("").join(
        Markup('<li><a href="#section-{name}">{title}</a></li>').format(
            name=section.name, title=section.title
        )
        for section in view.sections
    )
    return _PAGE.format(
        title=f"{view.registry or 'Configuration'} - Hatoba config editor",
        of=view.registry,
        links=links,
        heading="Configuration" + (f" of {view.registry}" if view.registry else ""),
        notices=_notices(view),
        form=_form(view),
    )


def _form(view: View) -> Markup:
    faults: dict[str, list[str]] = {}
    for finding in view.findings:
        faults.setdefault(finding.field.partition(".")[0], []).append(str(finding))
    buttons = Markup('<button name="action" value="check">Check</button>')
    if view.registry:
        buttons += Markup(
            '<button class="primary" name="action" value="save">Save and reconfigure</button>'
        )
    else:
        buttons += Markup(
            '<button class="primary" name="action" value="download">Download</button>'
        )
    return _FORM.format(
        token=view.token,
        sections=Markup("").join(_section(view, section, faults) for section in view.sections),
        files=_files(view.files),
        buttons=buttons,
    )


def _notices(view: View) -> Markup:
    shown = Markup("")
    if view.notice:
        shown += _NOTICE.format(kind="good", role="status", content=view.notice)
    if view.refusal:
        shown += _NOTICE.format(kind="bad", role="alert", content=view.refusal)
    if view.findings:
        known = {field.key for section in view.sections for field in section.fields}
        items = Markup("").join(_finding_item(finding, known) for finding in view.findings)
        count = len(view.findings)
        heading = "One field needs" if count == 1 else f"{count} fields need"
        content = Markup("<h2>{heading} attention</h2><ul>{items}</ul>").format(
            heading=heading, items=items
        )
        shown += _NOTICE.format(kind="bad", role="alert", content=content)
    return shown


def _finding_item(finding: Finding, known: set[str]) -> Markup:
    key = finding.field.partition(".")[0]
    if key in known:
        return Markup('<li><a href="#field-{key}">{text}</a></li>').format(
            key=key, text=str(finding)
        )
    return Markup("<li>{text}</li>").format(text=str(finding))


def _section(view: View, section: Section, faults: Mapping[str, Sequence[str]]) -> Markup:
    return _SECTION.format(
        name=section.name,
        title=section.title,
        help=section.help,
        fields=Markup("").join(
            _field(view, field, faults.get(field.key, ())) for field in section.fields
        ),
    )


def _field(view: View, field: Field, faults: Sequence[str]) -> Markup:
    state = (" locked" if field.is_locked else "") + (" faulty" if faults else "")
    default = ""
    if field.default and field.kind is not Kind.CHOICE:
        default = f" Default: {', '.join(field.default.splitlines())}."
    return _FIELD.format(
        key=field.key,
        state=state,
        label=_label(field.key),
        badge=_LOCKED if field.is_locked else "",
        help=field.help,
        default=default,
        fault=_FAULT.format(key=field.key, message="; ".join(faults)) if faults else "",
        control=_control(view, field, has_fault=bool(faults)),
    )


def _label(key: str) -> str:
    words = key.removeprefix("FEATURE_").lower().split("_")
    shown = [word.upper() if word in _ACRONYMS else word for word in words]
    text = " ".join(shown)
    return text[:1].upper() + text[1:]


def _control(view: View, field: Field, *, has_fault: bool) -> Markup:
    described = f"help-{field.key}" + (f" fault-{field.key}" if has_fault else "")
    attributes = Markup(' aria-describedby="{described}"').format(described=described)
    if has_fault:
        attributes += Markup(' aria-invalid="true"')
    if field.is_locked:
        attributes += Markup(" disabled")
        text = field.shown_locked(view.config)
    else:
        text = view.texts.get(field.key, field.text_of(view.config))
    if field.kind is Kind.CHOICE:
        options = Markup("").join(
            _OPTION.format(
                value=value, label=label, selected=Markup(" selected") if value == text else ""
            )
            for value, label in field.choices
        )
        return _SELECT.format(key=field.key, options=options, attributes=attributes)
    if field.kind in {Kind.LINES, Kind.YAML}:
        rows = min(12, max(2, text.count("\n") + 1))
        placeholder = "One per line" if field.kind is Kind.LINES else "YAML"
        return _AREA.format(
            key=field.key, rows=rows, placeholder=placeholder, value=text, attributes=attributes
        )
    placeholder, kind = field.default, "text"
    if field.kind is Kind.SECRET and not field.is_locked:
        kind = "password"
        is_set = bool(view.config.get(field.key))
        placeholder = "Set; type a new value to replace it" if is_set else "Not set"
    if field.kind is Kind.NUMBER:
        attributes += Markup(' inputmode="numeric"')
    return _INPUT.format(
        key=field.key, type=kind, value=text, placeholder=placeholder, attributes=attributes
    )


def _files(files: Sequence[str]) -> Markup:
    if not files:
        return Markup("")
    items = Markup("").join(Markup("<li><code>{}</code></li>").format(path) for path in files)
    return Markup(
        '<section aria-labelledby="title-files"><h2 id="title-files">Files</h2>'
        '<p class="lead">These lie beside config.yaml and are kept.</p><ul>{}</ul></section>'
    ).format(items)
