"""OAuth applications and the tokens issued for them."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, false

from hatoba.registry.db.tables.columns import METADATA, Moment

oauth_applications = Table(
    "oauthapplication",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("client_id", String(255), nullable=False),
    Column("redirect_uri", String(255), nullable=False),
    Column("application_uri", String(255), nullable=False),
    Column("organization_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("gravatar_email", String(255), nullable=True),
    Column("secure_client_secret", String(255), nullable=True),
    Column("fully_migrated", Boolean, nullable=False, server_default=false()),
    Index("oauthapplication_client_id", "client_id"),
    Index("oauthapplication_organization_id", "organization_id"),
)

oauth_access_tokens = Table(
    "oauthaccesstoken",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(255), nullable=False),
    Column("application_id", Integer, ForeignKey("oauthapplication.id"), nullable=False),
    Column("authorized_user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("scope", String(255), nullable=False),
    Column("token_type", String(255), nullable=False),
    Column("expires_at", Moment(), nullable=False),
    Column("data", Text, nullable=False),
    Column("token_code", String(255), nullable=False),
    Column("token_name", String(255), nullable=False),
    Column("last_accessed", Moment(), nullable=True),
    Column("created", Moment(), nullable=True),
    Column("display_name", String(255), nullable=True),
    Index("oauthaccesstoken_application_id", "application_id"),
    Index("oauthaccesstoken_application_id_last_accessed", "application_id", "last_accessed"),
    Index("oauthaccesstoken_authorized_user_id", "authorized_user_id"),
    Index("oauthaccesstoken_token_name", "token_name", unique=True),
    Index("oauthaccesstoken_uuid", "uuid"),
)

oauth_authorization_codes = Table(
    "oauthauthorizationcode",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("application_id", Integer, ForeignKey("oauthapplication.id"), nullable=False),
    Column("scope", String(255), nullable=False),
    Column("data", Text, nullable=False),
    Column("code_credential", String(255), nullable=False),
    Column("code_name", String(255), nullable=False),
    Index("oauthauthorizationcode_application_id", "application_id"),
    Index("oauthauthorizationcode_code_name", "code_name", unique=True),
)

oauth_assigned_tokens = Table(
    "oauthassignedtoken",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(255), nullable=False),
    Column("assigned_user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("application_id", Integer, ForeignKey("oauthapplication.id"), nullable=False),
    Column("redirect_uri", String(255), nullable=True),
    Column("scope", String(255), nullable=False),
    Column("response_type", String(255), nullable=True),
    Index("oauthassignedtoken_application_id", "application_id"),
    Index("oauthassignedtoken_assigned_user", "assigned_user_id"),
    Index("oauthassignedtoken_uuid", "uuid", unique=True),
)
