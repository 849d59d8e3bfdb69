"""Rows of mirror configurations. Each function is one question or one change."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.ids import new_uuid
from hatoba.kernel.json import JsonObject
from hatoba.kernel.names import NamespaceName, RepositoryName
from hatoba.registry.accounts.secrets import ColumnCipher, UnreadableSecret
from hatoba.registry.db.tables.mirrors import repo_mirror_configs as configs
from hatoba.registry.db.tables.mirrors import repo_mirror_rules as rules
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.users import users
from hatoba.registry.mirroring.models import (
    ExternalRegistry,
    MirrorRecord,
    ProxySettings,
    Schedule,
    SyncStatus,
)

PULL: Final = 1
TAG_GLOB_CSV: Final = 1
MIRROR_STATE: Final = 2
"""`repository.state` of a mirrored repository; only its robot may push to it."""

_namespaces = users.alias("namespace")
_robots = users.alias("robot")


class MirrorStore:
    """Reads and writes `repomirrorconfig` and `repomirrorrule`."""

    def __init__(self, cipher: ColumnCipher) -> None:
        """Credentials of other registries are encrypted with `cipher`."""
        self._cipher = cipher

    async def find(self, connection: AsyncConnection, repository_id: int) -> MirrorRecord | None:
        """Return a repository's configuration."""
        query = _records().where(configs.c.repository_id == repository_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else self._record(row)

    async def candidates(
        self, connection: AsyncConnection, *, now: datetime, limit: int
    ) -> list[MirrorRecord]:
        """Return configurations that may be due, those waiting longest first."""
        waiting = and_(
            configs.c.is_enabled,
            configs.c.sync_retries_remaining > 0,
            configs.c.sync_start_date <= now,
            or_(
                configs.c.sync_status != SyncStatus.SYNCING,
                configs.c.sync_expiration_date <= now,
            ),
        )
        requested = and_(
            configs.c.sync_status == SyncStatus.SYNC_NOW,
            configs.c.sync_expiration_date.is_(None),
        )
        query = (
            _records()
            .where(repositories.c.state == MIRROR_STATE, or_(waiting, requested))
            .order_by(configs.c.sync_start_date, configs.c.id)
            .limit(limit)
        )
        return [self._record(row) for row in await connection.execute(query)]

    async def write_schedule(
        self, connection: AsyncConnection, mirror: MirrorRecord, schedule: Schedule
    ) -> str | None:
        """Write a schedule unless somebody wrote one since `mirror` was read.

        Returns the new transaction id, or None where another writer was faster.
        """
        transaction_id = new_uuid()
        unchanged = (
            configs.c.sync_transaction_id.is_(None)
            if mirror.transaction_id is None
            else configs.c.sync_transaction_id == mirror.transaction_id
        )
        change = (
            update(configs)
            .where(configs.c.id == mirror.id, unchanged)
            .values(
                sync_status=int(schedule.status),
                sync_start_date=schedule.start_at,
                sync_expiration_date=schedule.expires_at,
                sync_retries_remaining=schedule.retries_remaining,
                sync_transaction_id=transaction_id,
            )
        )
        result = await connection.execute(change)
        return transaction_id if result.rowcount == 1 else None

    async def create(
        self, connection: AsyncConnection, mirror: MirrorRecord, *, robot_id: int, now: datetime
    ) -> None:
        """Insert a configuration; `mirror.id` is ignored."""
        rule_id = await connection.scalar(
            insert(rules)
            .values(
                uuid=new_uuid(),
                repository_id=mirror.repository_id,
                creation_date=now,
                rule_type=TAG_GLOB_CSV,
                rule_value=json.dumps(list(mirror.patterns)),
            )
            .returning(rules.c.id)
        )
        await connection.execute(
            insert(configs).values(
                repository_id=mirror.repository_id,
                creation_date=now,
                mirror_type=PULL,
                internal_robot_id=robot_id,
                root_rule_id=rule_id,
                sync_status=int(mirror.status),
                sync_transaction_id=new_uuid(),
                sync_retries_remaining=mirror.retries_remaining,
                **self._settings(mirror),
            )
        )

    async def change(
        self, connection: AsyncConnection, mirror: MirrorRecord, *, robot_id: int | None
    ) -> None:
        """Write what people may change; the schedule's state stays as it is."""
        values = self._settings(mirror)
        if robot_id is not None:
            values["internal_robot_id"] = robot_id
        await connection.execute(update(configs).where(configs.c.id == mirror.id).values(**values))
        await connection.execute(
            update(rules)
            .where(rules.c.repository_id == mirror.repository_id)
            .values(rule_value=json.dumps(list(mirror.patterns)))
        )

    async def delete(self, connection: AsyncConnection, repository_id: int) -> None:
        """Remove a repository's configuration and its rules."""
        await connection.execute(delete(configs).where(configs.c.repository_id == repository_id))
        await connection.execute(delete(rules).where(rules.c.repository_id == repository_id))

    async def counts(
        self, connection: AsyncConnection, *, namespace: NamespaceName | None
    ) -> dict[SyncStatus, int]:
        """Return how many configurations stand at each status."""
        query = (
            select(configs.c.sync_status, func.count())
            .join(repositories, repositories.c.id == configs.c.repository_id)
            .join(_namespaces, _namespaces.c.id == repositories.c.namespace_user_id)
            .group_by(configs.c.sync_status)
        )
        if namespace is not None:
            query = query.where(_namespaces.c.username == namespace)
        return {SyncStatus(status): count for status, count in await connection.execute(query)}

    def _settings(self, mirror: MirrorRecord) -> JsonObject:
        return {
            "is_enabled": mirror.is_enabled,
            "external_reference": mirror.external_reference,
            "external_registry_username": self._sealed(mirror.username),
            "external_registry_password": self._sealed(mirror.password),
            "external_registry_config": json.dumps(asdict(mirror.registry)),
            "sync_interval": mirror.interval_seconds,
            "sync_start_date": mirror.start_at,
            "skopeo_timeout": mirror.timeout_seconds,
            "architecture_filter": json.dumps(list(mirror.architectures))
            if mirror.architectures
            else None,
        }

    def _sealed(self, value: str | None) -> str | None:
        return None if value is None else self._cipher.encrypt(value)

    def _opened(self, value: str | None) -> str | None:
        """Return a credential; what cannot be read says so in place of the name, as in Quay."""
        if value is None:
            return None
        try:
            return self._cipher.decrypt(value)
        except UnreadableSecret:
            return "(invalid. please re-enter)"

    def _record(self, row: Row[Any]) -> MirrorRecord:
        value = row._mapping  # noqa: SLF001 -- SQLAlchemy's documented accessor
        return MirrorRecord(
            id=value["id"],
            repository_id=value["repository_id"],
            repository=RepositoryName(NamespaceName(value["namespace"]), value["repository"]),
            is_enabled=value["is_enabled"],
            external_reference=value["external_reference"],
            username=self._opened(value["external_registry_username"]),
            password=self._opened(value["external_registry_password"]),
            registry=_registry(value["external_registry_config"]),
            interval_seconds=value["sync_interval"],
            start_at=value["sync_start_date"],
            expires_at=value["sync_expiration_date"],
            retries_remaining=value["sync_retries_remaining"],
            status=SyncStatus(value["sync_status"]),
            transaction_id=value["sync_transaction_id"],
            patterns=tuple(json.loads(value["rule_value"])),
            robot=value["robot"],
            robot_id=value["internal_robot_id"],
            timeout_seconds=value["skopeo_timeout"],
            architectures=tuple(json.loads(value["architecture_filter"] or "[]")),
        )


def _records() -> Select[Any]:
    columns: Sequence[Any] = [
        *configs.c,
        rules.c.rule_value,
        repositories.c.name.label("repository"),
        _namespaces.c.username.label("namespace"),
        _robots.c.username.label("robot"),
    ]
    return (
        select(*columns)
        .select_from(configs)
        .join(rules, rules.c.id == configs.c.root_rule_id)
        .join(repositories, repositories.c.id == configs.c.repository_id)
        .join(_namespaces, _namespaces.c.id == repositories.c.namespace_user_id)
        .join(_robots, _robots.c.id == configs.c.internal_robot_id)
    )


def _registry(text: str) -> ExternalRegistry:
    """Read `external_registry_config`; absent keys have Quay's defaults."""
    stored = json.loads(text or "{}")
    proxy = stored.get("proxy") or {}
    return ExternalRegistry(
        verify_tls=stored.get("verify_tls", True),
        unsigned_images=stored.get("unsigned_images", False),
        proxy=ProxySettings(
            http_proxy=proxy.get("http_proxy"),
            https_proxy=proxy.get("https_proxy"),
            no_proxy=proxy.get("no_proxy"),
        ),
    )
