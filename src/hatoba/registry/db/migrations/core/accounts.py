"""Accounts and what they sign in with, as revision 0001 made them. Frozen."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    text,
    true,
)

from hatoba.registry.db.migrations.core.metadata import CORE

Table(
    "loginservice",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("loginservice_name", "name", unique=True),
)

Table(
    "user",
    CORE,
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
    Column("last_invalid_login", DateTime, nullable=False),
    Column("removed_tag_expiration_s", BigInteger, nullable=False, server_default="1209600"),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("invoice_email_address", String(255), nullable=True),
    Column("company", String(255), nullable=True),
    Column("family_name", String(255), nullable=True),
    Column("given_name", String(255), nullable=True),
    Column("location", String(255), nullable=True),
    Column("maximum_queued_builds_count", Integer, nullable=True),
    Column("creation_date", DateTime, nullable=True),
    Column("last_accessed", DateTime, nullable=True),
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

Table(
    "federatedlogin",
    CORE,
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

Table(
    "emailconfirmation",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("code", String(255), nullable=False),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("pw_reset", Boolean, nullable=False),
    Column("new_email", String(255), nullable=True),
    Column("email_confirm", Boolean, nullable=False),
    Column("created", DateTime, nullable=False),
    Column("verification_code", String(255), nullable=True),
    Index("emailconfirmation_code", "code", unique=True),
    Index("emailconfirmation_user_id", "user_id"),
)

Table(
    "userpromptkind",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("userpromptkind_name", "name"),
)

Table(
    "userprompt",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("kind_id", Integer, ForeignKey("userpromptkind.id"), nullable=False),
    Index("userprompt_kind_id", "kind_id"),
    Index("userprompt_user_id", "user_id"),
    Index("userprompt_user_id_kind_id", "user_id", "kind_id", unique=True),
)

Table(
    "deletednamespace",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("namespace_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("marked", DateTime, nullable=False),
    Column("original_username", String(255), nullable=False),
    Column("original_email", String(255), nullable=False),
    Column("queue_id", String(255), nullable=True),
    Index("deletednamespace_namespace_id", "namespace_id", unique=True),
    Index("deletednamespace_original_email", "original_email"),
    Index("deletednamespace_original_username", "original_username"),
    Index("deletednamespace_queue_id", "queue_id"),
)

Table(
    "organizationcontactemail",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("organization_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("contact_email", String(255), nullable=True),
    Index("organizationcontactemail_contact_email", "contact_email"),
    Index("organizationcontactemail_organization_id", "organization_id", unique=True),
)

Table(
    "teamrole",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("teamrole_name", "name"),
)

Table(
    "team",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("organization_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("role_id", Integer, ForeignKey("teamrole.id"), nullable=False),
    Column("description", Text, nullable=False),
    Index("team_name", "name"),
    Index("team_name_organization_id", "name", "organization_id", unique=True),
    Index("team_organization_id", "organization_id"),
    Index("team_role_id", "role_id"),
)

Table(
    "teammember",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("team_id", Integer, ForeignKey("team.id"), nullable=False),
    Index("teammember_team_id", "team_id"),
    Index("teammember_user_id", "user_id"),
    Index("teammember_user_id_team_id", "user_id", "team_id", unique=True),
)

Table(
    "teammemberinvite",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=True),
    Column("email", String(255), nullable=True),
    Column("team_id", Integer, ForeignKey("team.id"), nullable=False),
    Column("inviter_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("invite_token", String(255), nullable=False),
    Index("teammemberinvite_inviter_id", "inviter_id"),
    Index("teammemberinvite_team_id", "team_id"),
    Index("teammemberinvite_user_id", "user_id"),
)

Table(
    "teamsync",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("team_id", Integer, ForeignKey("team.id"), nullable=False),
    Column("transaction_id", String(255), nullable=False),
    Column("last_updated", DateTime, nullable=True),
    Column("service_id", Integer, ForeignKey("loginservice.id"), nullable=False),
    Column("config", Text, nullable=False),
    Index("teamsync_last_updated", "last_updated"),
    Index("teamsync_service_id", "service_id"),
    Index("teamsync_team_id", "team_id", unique=True),
)

Table(
    "appspecificauthtoken",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("title", String(255), nullable=False),
    Column("created", DateTime, nullable=False),
    Column("expiration", DateTime, nullable=True),
    Column("last_accessed", DateTime, nullable=True),
    Column("token_name", String(255), nullable=False),
    Column("token_secret", String(255), nullable=False),
    Index("appspecificauthtoken_token_name", "token_name", unique=True),
    Index("appspecificauthtoken_user_id", "user_id"),
    Index("appspecificauthtoken_user_id_expiration", "user_id", "expiration"),
    Index("appspecificauthtoken_uuid", "uuid"),
)

Table(
    "accesstokenkind",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("accesstokenkind_name", "name", unique=True),
)

Table(
    "accesstoken",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("friendly_name", String(255), nullable=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("created", DateTime, nullable=False),
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

Table(
    "robotaccounttoken",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("robot_account_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("token", String(255), nullable=False),
    Column("fully_migrated", Boolean, nullable=False, server_default=false()),
    Index("robotaccounttoken_robot_account_id", "robot_account_id", unique=True),
)

Table(
    "robotaccountmetadata",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("robot_account_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("description", String(255), nullable=False),
    Column("unstructured_json", Text, nullable=False),
    Index("robotaccountmetadata_robot_account_id", "robot_account_id", unique=True),
)

Table(
    "oauthapplication",
    CORE,
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

Table(
    "oauthaccesstoken",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(255), nullable=False),
    Column("application_id", Integer, ForeignKey("oauthapplication.id"), nullable=False),
    Column("authorized_user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("scope", String(255), nullable=False),
    Column("token_type", String(255), nullable=False),
    Column("expires_at", DateTime, nullable=False),
    Column("data", Text, nullable=False),
    Column("token_code", String(255), nullable=False),
    Column("token_name", String(255), nullable=False),
    Column("last_accessed", DateTime, nullable=True),
    Column("created", DateTime, nullable=True),
    Column("display_name", String(255), nullable=True),
    Index("oauthaccesstoken_application_id", "application_id"),
    Index("oauthaccesstoken_application_id_last_accessed", "application_id", "last_accessed"),
    Index("oauthaccesstoken_authorized_user_id", "authorized_user_id"),
    Index("oauthaccesstoken_token_name", "token_name", unique=True),
    Index("oauthaccesstoken_uuid", "uuid"),
)

Table(
    "oauthauthorizationcode",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("application_id", Integer, ForeignKey("oauthapplication.id"), nullable=False),
    Column("scope", String(255), nullable=False),
    Column("data", Text, nullable=False),
    Column("code_credential", String(255), nullable=False),
    Column("code_name", String(255), nullable=False),
    Index("oauthauthorizationcode_application_id", "application_id"),
    Index("oauthauthorizationcode_code_name", "code_name", unique=True),
)

Table(
    "oauthassignedtoken",
    CORE,
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

Table(
    "role",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("role_name", "name", unique=True),
)

Table(
    "repositorypermission",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("team_id", Integer, ForeignKey("team.id"), nullable=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("role_id", Integer, ForeignKey("role.id"), nullable=False),
    Index("repositorypermission_repository_id", "repository_id"),
    Index("repositorypermission_role_id", "role_id"),
    Index("repositorypermission_team_id", "team_id"),
    Index("repositorypermission_team_id_repository_id", "team_id", "repository_id", unique=True),
    Index("repositorypermission_user_id", "user_id"),
    Index("repositorypermission_user_id_repository_id", "user_id", "repository_id", unique=True),
)

Table(
    "permissionprototype",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("org_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("uuid", String(255), nullable=False),
    Column("activating_user_id", Integer, ForeignKey("user.id"), nullable=True),
    Column("delegate_user_id", Integer, ForeignKey("user.id"), nullable=True),
    Column("delegate_team_id", Integer, ForeignKey("team.id"), nullable=True),
    Column("role_id", Integer, ForeignKey("role.id"), nullable=False),
    Index("permissionprototype_activating_user_id", "activating_user_id"),
    Index("permissionprototype_delegate_team_id", "delegate_team_id"),
    Index("permissionprototype_delegate_user_id", "delegate_user_id"),
    Index("permissionprototype_org_id", "org_id"),
    Index("permissionprototype_org_id_activating_user_id", "org_id", "activating_user_id"),
    Index("permissionprototype_role_id", "role_id"),
    Index("permissionprototype_uuid", "uuid"),
)

Table(
    "servicekeyapproval",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("approver_id", Integer, nullable=True),
    Column("approval_type", String(255), nullable=False),
    Column("approved_date", DateTime, nullable=False),
    Column("notes", Text, nullable=False),
    Index("servicekeyapproval_approval_type", "approval_type"),
    Index("servicekeyapproval_approver_id", "approver_id"),
)

Table(
    "servicekey",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("kid", String(255), nullable=False),
    Column("service", String(255), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_date", DateTime, nullable=False),
    Column("expiration_date", DateTime, nullable=True),
    Column("rotation_duration", Integer, nullable=True),
    Column("approval_id", Integer, ForeignKey("servicekeyapproval.id"), nullable=True),
    Index("servicekey_approval_id", "approval_id"),
    Index("servicekey_kid", "kid", unique=True),
    Index("servicekey_service", "service"),
)
