"""Say what is wrong with a configuration, field by field.

Called by the loader, by `hatoba config validate`, by the config editor and by the operator. It
looks at values alone; whether a database or a bucket answers is for those who connect to it.
"""

from dataclasses import dataclass

from pydantic import ValidationError
from typing_extensions import override

from hatoba.config.schema import QuayConfig
from hatoba.config.tls import TlsRules, faults_of
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True, kw_only=True)
class Finding:
    """One fault: the key (with the path below it, dotted) and a sentence about it."""

    field: str
    message: str

    @override
    def __str__(self) -> str:
        return f"{self.field} {self.message}"


def validate_mapping(mapping: JsonObject) -> list[Finding]:
    """Return every fault of a parsed config.yaml, in the order of the schema; [] when valid."""
    try:
        settings = QuayConfig.model_validate(mapping)
    except ValidationError as error:
        return [
            Finding(
                field=".".join(str(part) for part in fault["loc"]) or "config.yaml",
                message=_sentence(fault["msg"]),
            )
            for fault in error.errors(include_url=False, include_input=False)
        ]
    return _cross_checks(settings)


def _cross_checks(settings: QuayConfig) -> list[Finding]:
    """Check rules that need more than one key."""
    findings = []
    storage = settings.distributed_storage_config
    findings += [
        Finding(field=key, message=f"names the location {name}, which is not configured")
        for key, names in (
            ("DISTRIBUTED_STORAGE_PREFERENCE", settings.distributed_storage_preference),
            (
                "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS",
                settings.distributed_storage_default_locations,
            ),
        )
        for name in names
        if name not in storage
    ]
    if settings.feature_security_scanner and not settings.security_scanner_v4_endpoint:
        findings.append(
            Finding(
                field="SECURITY_SCANNER_V4_ENDPOINT",
                message="is needed when FEATURE_SECURITY_SCANNER is true",
            )
        )
    if settings.default_tag_expiration not in settings.tag_expiration_options:
        findings.append(
            Finding(
                field="DEFAULT_TAG_EXPIRATION", message="must be one of the TAG_EXPIRATION_OPTIONS"
            )
        )
    rules = TlsRules(protocols=settings.ssl_protocols, ciphers=settings.ssl_ciphers or ())
    findings += [Finding(field=key, message=message) for key, message in faults_of(rules)]
    return findings


def _sentence(message: str) -> str:
    """Turn pydantic's message into one that continues the name of the field."""
    text = message.removeprefix("Value error, ")
    if text.startswith(("must", "is ", "names")):
        return text
    return "is not valid: " + text[:1].lower() + text[1:]
