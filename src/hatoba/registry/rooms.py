"""The rooms that accounts, access and the REST API need, built once per process.

Called by `app` (and by tests) with an open, migrated database; the edges find the result as
`request.app.state.rooms`.
"""

from dataclasses import dataclass
from datetime import timedelta

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import Clock
from hatoba.registry.access.keys import KeyRing
from hatoba.registry.access.service import Access
from hatoba.registry.access.tokens import TokenIssuer, TokenVerifier
from hatoba.registry.accounts.app_tokens import AppTokens
from hatoba.registry.accounts.applications import Applications
from hatoba.registry.accounts.credentials import Credentials
from hatoba.registry.accounts.deletion import Deletion
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
from hatoba.registry.audit.service import AuditLog
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
    verifier: TokenVerifier
    repositories: Repositories
    permissions: Permissions
    prototypes: Prototypes
    tagging: Tagging
    audit: AuditLog
    mirroring: Mirroring
    scanning: Scanning | None
    """None where FEATURE_SECURITY_SCANNER is off."""


def open_rooms(
    settings: QuayConfig,
    *,
    database: Database,
    lookups: Lookups,
    clock: Clock,
    password_rounds: int = 12,
    read_config: ConfigReader | None = None,
) -> Rooms:
    """Build the rooms upon a migrated database; nothing is connected or read here."""
    cipher = ColumnCipher(derive_key(settings.database_secret_key))
    passwords = PasswordCipher(derive_key(settings.secret_key))
    hasher = SecretHasher(rounds=password_rounds)
    audit = AuditLog(database=database, lookups=lookups, clock=clock)
    keys = KeyRing(database=database, cipher=cipher, clock=clock)
    users = Users(
        database=database,
        clock=clock,
        hasher=hasher,
        audit=audit,
        demands_email=settings.feature_mailing,
        default_tag_expiration=settings.default_tag_expiration,
    )
    applications = Applications(
        database=database, clock=clock, hasher=hasher, cipher=cipher, audit=audit
    )
    app_tokens = AppTokens(database=database, clock=clock, cipher=cipher, audit=audit)
    robots = Robots(
        database=database,
        users=users,
        cipher=cipher,
        lookups=lookups,
        audit=audit,
        are_disallowed=settings.robots_disallow,
    )
    repositories = Repositories(
        database=database,
        clock=clock,
        lookups=lookups,
        audit=audit,
        allow_slashes=settings.feature_extended_repository_names,
    )
    issuer = TokenIssuer(keys=keys, clock=clock)
    permissions = Permissions(database=database, lookups=lookups, audit=audit)
    mirroring = Mirroring(
        database=database,
        store=MirrorStore(cipher),
        clock=clock,
        robots=robots,
        repositories=repositories,
        permissions=permissions,
        audit=audit,
        allowed_private_hosts=frozenset(settings.ssrf_allowed_hosts),
    )
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
        credentials=Credentials(
            database=database,
            clock=clock,
            hasher=hasher,
            passwords=passwords,
            cipher=cipher,
            applications=applications,
            app_tokens=app_tokens,
            robots_are_disallowed=settings.robots_disallow,
            demands_encrypted=settings.feature_require_encrypted_basic_auth,
        ),
        passwords=passwords,
        access=Access(
            database=database,
            superusers=frozenset(settings.super_users if settings.feature_super_users else ()),
            superusers_reach_everything=settings.feature_superusers_full_access,
        ),
        keys=keys,
        issuer=issuer,
        verifier=TokenVerifier(
            keys=keys,
            clock=clock,
            audience=settings.server_hostname,
            maximum_lifetime=settings.registry_jwt_auth_max_fresh_s,
        ),
        repositories=repositories,
        permissions=permissions,
        tagging=Tagging(
            database=database,
            clock=clock,
            lookups=lookups,
            audit=audit,
            read_config=read_config,
        ),
        prototypes=Prototypes(database=database, lookups=lookups, audit=audit),
        audit=audit,
        mirroring=mirroring,
        scanning=_open_scanning(
            settings, database=database, lookups=lookups, clock=clock, issuer=issuer
        ),
    )


def _open_scanning(
    settings: QuayConfig,
    *,
    database: Database,
    lookups: Lookups,
    clock: Clock,
    issuer: TokenIssuer,
) -> Scanning | None:
    endpoint = settings.security_scanner_v4_endpoint
    if not settings.feature_security_scanner or not endpoint:
        return None
    own_url = f"{settings.preferred_url_scheme}://{settings.server_hostname}"
    return Scanning(
        database=database,
        clock=clock,
        lookups=lookups,
        scanner=ClairScanner.connect(
            endpoint=endpoint, psk=settings.security_scanner_v4_psk, clock=clock
        ),
        issuer=issuer,
        audience=settings.server_hostname,
        registry_url=(settings.security_scanner_registry_url or own_url).rstrip("/"),
        reindex_after=timedelta(seconds=settings.security_scanner_v4_reindex_threshold),
        maximum_retries=settings.security_scanner_max_scan_retries,
    )
