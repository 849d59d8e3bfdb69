"""The rooms that accounts, access and the REST API need, built once per process.

Called by `app` (and by tests) with an open, migrated database; the edges find the result as
`request.app.state.rooms`.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import Clock
from hatoba.net.authorities import trusted_authorities
from hatoba.registry.access.issued import IssuedTokens
from hatoba.registry.access.keys import KeyRing
from hatoba.registry.access.service import Access
from hatoba.registry.access.tokens import TokenIssuer, TokenVerifier
from hatoba.registry.accounts.app_tokens import AppTokens
from hatoba.registry.accounts.applications import Applications
from hatoba.registry.accounts.credentials import Credentials
from hatoba.registry.accounts.deletion import Deletion
from hatoba.registry.accounts.matches import SharedMatches
from hatoba.registry.accounts.organizations import Organizations
from hatoba.registry.accounts.robots import Robots
from hatoba.registry.accounts.secrets import (
    ColumnCipher,
    PasswordCipher,
    SecretHasher,
    derive_key,
)
from hatoba.registry.accounts.teams import Teams
from hatoba.registry.accounts.users import Users
from hatoba.registry.audit.reading import AuditReader
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content.labelling import Labelling
from hatoba.registry.content.tagging import ConfigReader, Tagging
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.mirroring.service import Mirroring
from hatoba.registry.mirroring.store import MirrorStore
from hatoba.registry.repositories.permissions import Permissions
from hatoba.registry.repositories.prototypes import Prototypes
from hatoba.registry.repositories.service import Repositories
from hatoba.registry.scanning.client import ClairScanner
from hatoba.registry.scanning.service import Scanning
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class Rooms:
    """What the edges api and web call."""

    settings: QuayConfig
    clock: Clock
    users: Users
    organizations: Organizations
    teams: Teams
    robots: Robots
    applications: Applications
    app_tokens: AppTokens
    deletion: Deletion
    credentials: Credentials
    passwords: PasswordCipher
    access: Access
    keys: KeyRing
    issuer: TokenIssuer
    issued: IssuedTokens
    verifier: TokenVerifier
    repositories: Repositories
    permissions: Permissions
    prototypes: Prototypes
    tagging: Tagging
    labelling: Labelling
    audit: AuditLog
    audit_reader: AuditReader
    mirroring: Mirroring
    scanning: Scanning | None
    """None where FEATURE_SECURITY_SCANNER is off."""


@dataclass(slots=True, frozen=True, kw_only=True)
class _Ground:
    """What every room stands on."""

    settings: QuayConfig
    database: Database
    lookups: Lookups
    clock: Clock
    cipher: ColumnCipher
    passwords: PasswordCipher
    hasher: SecretHasher
    audit: AuditLog
    directory: Path | None
    """Where certificates of authorities lie that are believed beside the system's."""


def open_rooms(
    settings: QuayConfig,
    *,
    database: Database,
    lookups: Lookups,
    clock: Clock,
    password_rounds: int = 12,
    read_config: ConfigReader | None = None,
    matches: SharedMatches | None = None,
    directory: Path | None = None,
) -> Rooms:
    """Build the rooms upon a migrated database; nothing is connected or read here."""
    ground = _Ground(
        settings=settings,
        database=database,
        lookups=lookups,
        clock=clock,
        cipher=ColumnCipher(derive_key(settings.database_secret_key)),
        passwords=PasswordCipher(derive_key(settings.secret_key)),
        hasher=SecretHasher(rounds=password_rounds, known=matches or SharedMatches()),
        audit=AuditLog(database=database, lookups=lookups, clock=clock),
        directory=directory,
    )
    audit = ground.audit
    users, robots = _open_users(ground), _open_robots(ground)
    applications, app_tokens = _open_applications(ground), _open_app_tokens(ground)
    keys = KeyRing(database=database, cipher=ground.cipher, clock=clock)
    issuer = TokenIssuer(
        keys=keys, clock=clock, lifetime=timedelta(seconds=settings.registry_token_lifetime_s)
    )
    repositories = _open_repositories(ground)
    permissions = Permissions(database=database, lookups=lookups, audit=audit)
    return Rooms(
        settings=settings,
        clock=clock,
        users=users,
        organizations=Organizations(database=database, users=users, lookups=lookups, audit=audit),
        teams=Teams(database=database, lookups=lookups, audit=audit),
        robots=robots,
        applications=applications,
        app_tokens=app_tokens,
        deletion=Deletion(database=database, clock=clock, audit=audit),
        credentials=_open_credentials(ground, applications=applications, app_tokens=app_tokens),
        passwords=ground.passwords,
        access=_open_access(ground),
        keys=keys,
        issuer=issuer,
        issued=IssuedTokens(clock=clock, lifetime_seconds=settings.registry_token_reuse_s),
        verifier=_open_verifier(ground, keys),
        repositories=repositories,
        permissions=permissions,
        tagging=_open_tagging(ground, read_config),
        labelling=_open_labelling(ground),
        prototypes=Prototypes(database=database, lookups=lookups, audit=audit),
        audit=audit,
        audit_reader=AuditReader(database=database, lookups=lookups),
        mirroring=_open_mirroring(ground, robots, repositories, permissions),
        scanning=_open_scanning(ground, issuer),
    )


def _open_users(ground: _Ground) -> Users:
    return Users(
        database=ground.database,
        clock=ground.clock,
        hasher=ground.hasher,
        audit=ground.audit,
        demands_email=ground.settings.feature_mailing,
        default_tag_expiration=ground.settings.default_tag_expiration,
    )


def _open_robots(ground: _Ground) -> Robots:
    return Robots(
        database=ground.database,
        users=_open_users(ground),
        cipher=ground.cipher,
        lookups=ground.lookups,
        audit=ground.audit,
        are_disallowed=ground.settings.robots_disallow,
    )


def _open_applications(ground: _Ground) -> Applications:
    return Applications(
        database=ground.database,
        clock=ground.clock,
        hasher=ground.hasher,
        cipher=ground.cipher,
        audit=ground.audit,
    )


def _open_app_tokens(ground: _Ground) -> AppTokens:
    return AppTokens(
        database=ground.database, clock=ground.clock, cipher=ground.cipher, audit=ground.audit
    )


def _open_credentials(
    ground: _Ground, *, applications: Applications, app_tokens: AppTokens
) -> Credentials:
    return Credentials(
        database=ground.database,
        clock=ground.clock,
        hasher=ground.hasher,
        passwords=ground.passwords,
        cipher=ground.cipher,
        applications=applications,
        app_tokens=app_tokens,
        robots_are_disallowed=ground.settings.robots_disallow,
        demands_encrypted=ground.settings.feature_require_encrypted_basic_auth,
    )


def _open_access(ground: _Ground) -> Access:
    settings = ground.settings
    return Access(
        database=ground.database,
        superusers=frozenset(settings.super_users if settings.feature_super_users else ()),
        superusers_reach_everything=settings.feature_superusers_full_access,
    )


def _open_verifier(ground: _Ground, keys: KeyRing) -> TokenVerifier:
    return TokenVerifier(
        keys=keys,
        clock=ground.clock,
        audience=ground.settings.server_hostname,
        maximum_lifetime=ground.settings.registry_jwt_auth_max_fresh_s,
    )


def _open_repositories(ground: _Ground) -> Repositories:
    return Repositories(
        database=ground.database,
        clock=ground.clock,
        lookups=ground.lookups,
        audit=ground.audit,
        allow_slashes=ground.settings.feature_extended_repository_names,
    )


def _open_tagging(ground: _Ground, read_config: ConfigReader | None) -> Tagging:
    return Tagging(
        database=ground.database,
        clock=ground.clock,
        lookups=ground.lookups,
        audit=ground.audit,
        read_config=read_config,
    )


def _open_labelling(ground: _Ground) -> Labelling:
    return Labelling(
        database=ground.database,
        lookups=ground.lookups,
        audit=ground.audit,
        reserved_prefixes=tuple(ground.settings.label_key_reserved_prefixes),
    )


def _open_mirroring(
    ground: _Ground, robots: Robots, repositories: Repositories, permissions: Permissions
) -> Mirroring:
    return Mirroring(
        database=ground.database,
        store=MirrorStore(ground.cipher),
        clock=ground.clock,
        robots=robots,
        repositories=repositories,
        permissions=permissions,
        audit=ground.audit,
        allowed_private_hosts=frozenset(ground.settings.ssrf_allowed_hosts),
    )


def _open_scanning(ground: _Ground, issuer: TokenIssuer) -> Scanning | None:
    settings = ground.settings
    endpoint = settings.security_scanner_v4_endpoint
    if not settings.feature_security_scanner or not endpoint:
        return None
    own_url = f"{settings.preferred_url_scheme}://{settings.server_hostname}"
    return Scanning(
        database=ground.database,
        clock=ground.clock,
        lookups=ground.lookups,
        scanner=ClairScanner.connect(
            endpoint=endpoint,
            psk=settings.security_scanner_v4_psk,
            clock=ground.clock,
            tls=True if ground.directory is None else trusted_authorities(ground.directory),
        ),
        issuer=issuer,
        audience=settings.server_hostname,
        registry_url=(settings.security_scanner_registry_url or own_url).rstrip("/"),
        reindex_after=timedelta(seconds=settings.security_scanner_v4_reindex_threshold),
        maximum_retries=settings.security_scanner_max_scan_retries,
    )
