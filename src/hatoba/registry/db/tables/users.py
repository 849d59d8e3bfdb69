"""User accounts: people, organizations and robots share the table `user`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
    true,
)

from hatoba.registry.db.tables.columns import METADATA, Moment

login_services = Table(
    "loginservice",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("loginservice_name", "name", unique=True),
)

users = Table(
    "user",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=True),
    Column("username", String(255), nullable=False),
    Column("password_hash", String(255), nullable=True),
    Column("email", String(255), nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("stripe_id", String(255), nullable=True),
    Column("organization", Boolean, nullable=False),
    Column("robot", Boolean, nullable=False),
    Column("invoice_email", Boolean, nullable=False),
    Column("invalid_login_attempts", Integer, nullable=False, server_default="0"),
    Column("last_invalid_login", Moment(), nullable=False),
    Column("removed_tag_expiration_s", BigInteger, nullable=False, server_default="1209600"),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("invoice_email_address", String(255), nullable=True),
    Column("company", String(255), nullable=True),
    Column("family_name", String(255), nullable=True),
    Column("given_name", String(255), nullable=True),
    Column("location", String(255), nullable=True),
    Column("maximum_queued_builds_count", Integer, nullable=True),
    Column("creation_date", Moment(), nullable=True),
    Column("last_accessed", Moment(), nullable=True),
    Index("user_email_idx", "email"),
    Index(
        "user_email_unique_non_org",
        "email",
        unique=True,
        postgresql_where=text("organization = false"),
        sqlite_where=text("organization = 0"),
    ),
    Index("user_invoice_email_address", "invoice_email_address"),
    Index("user_last_accessed", "last_accessed"),
    Index("user_organization", "organization"),
    Index("user_robot", "robot"),
    Index("user_stripe_id", "stripe_id"),
    Index("user_username", "username", unique=True),
    Index("user_uuid", "uuid"),
)

federated_logins = Table(
    "federatedlogin",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("service_id", Integer, ForeignKey("loginservice.id"), nullable=False),
    Column("service_ident", String(255), nullable=False),
    Column("metadata_json", Text, nullable=False),
    Index("federatedlogin_service_id", "service_id"),
    Index("federatedlogin_service_id_service_ident", "service_id", "service_ident", unique=True),
    Index("federatedlogin_service_id_user_id", "service_id", "user_id", unique=True),
    Index("federatedlogin_user_id", "user_id"),
)

email_confirmations = Table(
    "emailconfirmation",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("code", String(255), nullable=False),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("pw_reset", Boolean, nullable=False),
    Column("new_email", String(255), nullable=True),
    Column("email_confirm", Boolean, nullable=False),
    Column("created", Moment(), nullable=False),
    Column("verification_code", String(255), nullable=True),
    Index("emailconfirmation_code", "code", unique=True),
    Index("emailconfirmation_user_id", "user_id"),
)

user_prompt_kinds = Table(
    "userpromptkind",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("userpromptkind_name", "name"),
)

user_prompts = Table(
    "userprompt",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("kind_id", Integer, ForeignKey("userpromptkind.id"), nullable=False),
    Index("userprompt_kind_id", "kind_id"),
    Index("userprompt_user_id", "user_id"),
    Index("userprompt_user_id_kind_id", "user_id", "kind_id", unique=True),
)

deleted_namespaces = Table(
    "deletednamespace",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("namespace_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("marked", Moment(), nullable=False),
    Column("original_username", String(255), nullable=False),
    Column("original_email", String(255), nullable=False),
    Column("queue_id", String(255), nullable=True),
    Index("deletednamespace_namespace_id", "namespace_id", unique=True),
    Index("deletednamespace_original_email", "original_email"),
    Index("deletednamespace_original_username", "original_username"),
    Index("deletednamespace_queue_id", "queue_id"),
)

organization_contact_emails = Table(
    "organizationcontactemail",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("organization_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("contact_email", String(255), nullable=True),
    Index("organizationcontactemail_contact_email", "contact_email"),
    Index("organizationcontactemail_organization_id", "organization_id", unique=True),
)
