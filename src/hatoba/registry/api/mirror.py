"""Repository mirrors: `/repository/<name>/mirror`, `sync-now`, `sync-cancel`.

Quay API: repository mirroring (3.6). The time-out and the architectures came later and are taken
where they are given.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from hatoba.kernel.json import JsonObject
from hatoba.kernel.names import NamespaceName, RepositoryName
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.problems import BadRequest, HiddenNotFound
from hatoba.registry.mirroring.errors import CredentialsIncomplete, MirrorExists, SourceForbidden
from hatoba.registry.mirroring.models import (
    MAXIMUM_RETRIES,
    ExternalRegistry,
    MirrorRecord,
    ProxySettings,
    SyncStatus,
)
from hatoba.registry.mirroring.service import Mirroring

DATE_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
DEFAULT_TIMEOUT_SECONDS: Final = 300


class RuleIn(msgspec.Struct):
    """Which tags to copy."""

    rule_kind: Literal["tag_glob_csv"]
    rule_value: list[str]


class ProxyIn(msgspec.Struct):
    """Proxies on the way to the other registry."""

    http_proxy: str | UnsetType | None = UNSET
    https_proxy: str | UnsetType | None = UNSET
    no_proxy: str | UnsetType | None = UNSET


class RegistryIn(msgspec.Struct):
    """How to talk to the other registry."""

    verify_tls: bool | UnsetType = UNSET
    unsigned_images: bool | UnsetType = UNSET
    proxy: ProxyIn | UnsetType = UNSET


class MirrorChangeIn(msgspec.Struct):
    """Any part of a configuration."""

    is_enabled: bool | UnsetType = UNSET
    external_reference: str | UnsetType = UNSET
    external_registry_username: str | UnsetType | None = UNSET
    external_registry_password: str | UnsetType | None = UNSET
    sync_start_date: str | UnsetType = UNSET
    sync_interval: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    robot_username: str | UnsetType = UNSET
    root_rule: RuleIn | UnsetType = UNSET
    external_registry_config: RegistryIn | UnsetType = UNSET
    skopeo_timeout_interval: Annotated[int, Meta(ge=300)] | UnsetType = UNSET
    architecture_filter: list[str] | UnsetType | None = UNSET


REQUIRED: Final = (
    "external_reference",
    "sync_interval",
    "sync_start_date",
    "root_rule",
    "robot_username",
)
"""What a new configuration cannot do without, in the order in which Quay complains."""


def _mirroring(call: Call) -> Mirroring:
    """Return the room.

    Raises:
        HiddenNotFound: FEATURE_REPO_MIRROR is off.
    """
    if not call.rooms.settings.feature_repo_mirror:
        raise HiddenNotFound("Mirroring is not offered")
    return call.rooms.mirroring


async def read(call: Call) -> JsonObject:
    """Show the configuration; never the password."""
    mirror = await _mirroring(call).get(call.repository)
    return {
        "is_enabled": mirror.is_enabled,
        "mirror_type": "PULL",
        "external_reference": mirror.external_reference,
        "external_registry_username": mirror.username,
        "external_registry_config": {
            "verify_tls": mirror.registry.verify_tls,
            "unsigned_images": mirror.registry.unsigned_images,
            "proxy": {
                "http_proxy": mirror.registry.proxy.http_proxy,
                "https_proxy": mirror.registry.proxy.https_proxy,
                "no_proxy": mirror.registry.proxy.no_proxy,
            },
        },
        "sync_interval": mirror.interval_seconds,
        "sync_start_date": _date(mirror.start_at),
        "sync_expiration_date": _date(mirror.expires_at),
        "sync_retries_remaining": mirror.retries_remaining,
        "sync_status": mirror.status.name,
        "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": list(mirror.patterns)},
        "robot_username": mirror.robot,
        "skopeo_timeout_interval": mirror.timeout_seconds,
        "architecture_filter": list(mirror.architectures),
    }


async def create(call: Call) -> Response:
    """Make the repository a mirror."""
    body = await call.body(MirrorChangeIn)
    for name in REQUIRED:
        if getattr(body, name) is UNSET:
            raise BadRequest(f"'{name}' is a required property")
    repository = call.repository
    blank = MirrorRecord(
        id=0,
        repository_id=repository.id,
        repository=RepositoryName(NamespaceName(repository.namespace.username), repository.name),
        is_enabled=True,
        external_reference="",
        username=None,
        password=None,
        registry=ExternalRegistry(),
        interval_seconds=0,
        start_at=None,
        expires_at=None,
        retries_remaining=MAXIMUM_RETRIES,
        status=SyncStatus.NEVER_RUN,
        transaction_id=None,
        patterns=(),
        robot="",
        robot_id=0,
        timeout_seconds=DEFAULT_TIMEOUT_SECONDS,
    )
    try:
        mirror = _changed(blank, body)
        await _mirroring(call).create(repository, mirror, actor=call.identity.actor)
    except SourceForbidden as error:
        raise BadRequest(error.message) from error
    except (_DateMalformed, _FilterNotOffered) as error:
        return _detail(400, error.message)
    except MirrorExists as error:
        return _detail(409, error.message)
    return JsonAnswer("", status_code=201)


async def change(call: Call) -> Response:
    """Change what the body names."""
    body = await call.body(MirrorChangeIn)
    before = await _mirroring(call).get(call.repository)
    try:
        _check_credentials(body)
        after = _changed(before, body)
    except (_DateMalformed, _FilterNotOffered, CredentialsIncomplete) as error:
        return _detail(400, error.message)
    try:
        await _mirroring(call).change(
            call.repository, before=before, after=after, actor=call.identity.actor
        )
    except SourceForbidden as error:
        raise BadRequest(error.message) from error
    return JsonAnswer("", status_code=201)


async def sync_now(call: Call) -> Response:
    """Ask for a synchronisation now."""
    await _mirroring(call).request_now(call.repository, actor=call.identity.actor)
    return no_content()


async def sync_cancel(call: Call) -> Response:
    """Cancel the synchronisation that runs or waits."""
    await _mirroring(call).cancel(call.repository, actor=call.identity.actor)
    return no_content()


class _DateMalformed(BadRequest):
    """`sync_start_date` in another form."""


class _FilterNotOffered(BadRequest):
    """Architectures were named, which only registries with sparse indexes can leave out."""


def _changed(mirror: MirrorRecord, body: MirrorChangeIn) -> MirrorRecord:
    """Return the configuration with what the body names.

    Raises:
        _DateMalformed, _FilterNotOffered, BadRequest: a value that types cannot refuse.
    """
    if body.architecture_filter:
        raise _FilterNotOffered(
            "Architecture filtering requires FEATURE_SPARSE_INDEX to be enabled."
        )
    changes: JsonObject = {
        "is_enabled": body.is_enabled,
        "external_reference": body.external_reference,
        "username": body.external_registry_username,
        "password": body.external_registry_password,
        "interval_seconds": body.sync_interval,
        "robot": body.robot_username,
        "timeout_seconds": body.skopeo_timeout_interval,
    }
    changes = {key: value for key, value in changes.items() if value is not UNSET}
    if body.external_registry_username is None:
        changes["password"] = None
    if body.sync_start_date is not UNSET:
        changes["start_at"] = _parse_date(body.sync_start_date)
    if body.root_rule is not UNSET:
        changes["patterns"] = _patterns(body.root_rule)
    if body.external_registry_config is not UNSET:
        changes["registry"] = _registry(mirror.registry, body.external_registry_config)
    return replace(mirror, **changes)


def _registry(before: ExternalRegistry, body: RegistryIn) -> ExternalRegistry:
    proxy = before.proxy
    if body.proxy is not UNSET:
        proxy = ProxySettings(
            http_proxy=_given(body.proxy.http_proxy, proxy.http_proxy),
            https_proxy=_given(body.proxy.https_proxy, proxy.https_proxy),
            no_proxy=_given(body.proxy.no_proxy, proxy.no_proxy),
        )
    return ExternalRegistry(
        verify_tls=before.verify_tls if body.verify_tls is UNSET else body.verify_tls,
        unsigned_images=(
            before.unsigned_images if body.unsigned_images is UNSET else body.unsigned_images
        ),
        proxy=proxy,
    )


def _given(value: str | UnsetType | None, otherwise: str | None) -> str | None:
    return otherwise if value is UNSET else value


def _patterns(rule: RuleIn) -> tuple[str, ...]:
    if not rule.rule_value:
        raise BadRequest(
            "validation failed: rule_value for TAG_GLOB_CSV must be a list with at least one rule"
        )
    return tuple(rule.rule_value)


def _check_credentials(body: MirrorChangeIn) -> None:
    if body.external_registry_password is UNSET or body.external_registry_password is None:
        return
    if body.external_registry_username is UNSET:
        raise CredentialsIncomplete(
            "Unable to set a new password without also specifying a username."
        )
    if body.external_registry_username is None:
        raise CredentialsIncomplete("Unable to delete username while setting a password.")


def _parse_date(text: str) -> datetime:
    try:
        return datetime.strptime(text, DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise _DateMalformed("Incorrect DateTime format for sync_start_date.") from error


def _date(moment: datetime | None) -> str | None:
    """Return Quay's form: UTC with a Z, fractions only where there are some."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _detail(status: int, text: str) -> Response:
    """Return the shape that only these routes have."""
    return JsonAnswer({"detail": text}, status_code=status)


PATH: Final = "/repository/{repository:path}/mirror"
ROWS: Final[tuple[Row, ...]] = (
    Row("GET", PATH, read, Needs.REPO_ADMIN),
    Row("POST", PATH, create, Needs.REPO_ADMIN),
    Row("PUT", PATH, change, Needs.REPO_ADMIN),
    Row("POST", f"{PATH}/sync-now", sync_now, Needs.REPO_ADMIN),
    Row("POST", f"{PATH}/sync-cancel", sync_cancel, Needs.REPO_ADMIN),
)
