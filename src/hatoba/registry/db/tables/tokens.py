"""Application-specific tokens and the access tokens of single repositories."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table

from hatoba.registry.db.tables.columns import METADATA, Moment

app_specific_auth_tokens = Table(
    "appspecificauthtoken",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("title", String(255), nullable=False),
    Column("created", Moment(), nullable=False),
    Column("expiration", Moment(), nullable=True),
    Column("last_accessed", Moment(), nullable=True),
    Column("token_name", String(255), nullable=False),
    Column("token_secret", String(255), nullable=False),
    Index("appspecificauthtoken_token_name", "token_name", unique=True),
    Index("appspecificauthtoken_user_id", "user_id"),
    Index("appspecificauthtoken_user_id_expiration", "user_id", "expiration"),
    Index("appspecificauthtoken_uuid", "uuid"),
)

access_token_kinds = Table(
    "accesstokenkind",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("accesstokenkind_name", "name", unique=True),
)

access_tokens = Table(
    "accesstoken",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("friendly_name", String(255), nullable=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("created", Moment(), nullable=False),
    Column("role_id", Integer, ForeignKey("role.id"), nullable=False),
    Column("temporary", Boolean, nullable=False),
    Column("kind_id", Integer, ForeignKey("accesstokenkind.id"), nullable=True),
    Column("token_code", String(255), nullable=False),
    Column("token_name", String(255), nullable=False),
    Index("accesstoken_kind_id", "kind_id"),
    Index("accesstoken_repository_id", "repository_id"),
    Index("accesstoken_role_id", "role_id"),
    Index("accesstoken_token_name", "token_name", unique=True),
)
