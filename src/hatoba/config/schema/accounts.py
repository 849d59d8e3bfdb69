"""Who may sign in and what a new account may do."""

from typing import ClassVar, Literal

from pydantic import Field

from hatoba.config.durations import Duration, parse_duration
from hatoba.config.schema.group import Group


class AccountSettings(Group):
    """Users, sign-in and superusers."""

    title: ClassVar[str] = "Access"
    field_group: ClassVar[str] = "AccessSettings"

    authentication_type: Literal["Database"] = "Database"
    """Where passwords are checked. This release has the registry's own database."""
    super_users: list[str] = Field(default_factory=list)
    """User names with power over the whole registry."""
    feature_super_users: bool = True
    """False hides the superuser API."""
    feature_user_initialize: bool = False
    """True lets the first user be created over the API while the database holds no user."""
    feature_user_creation: bool = True
    """False leaves the creation of accounts to superusers."""
    feature_invite_only_user_creation: bool = False
    """True demands an invitation to a team for a new account."""
    feature_direct_login: bool = True
    """False refuses sign-in by name and password in the browser."""
    feature_anonymous_access: bool = True
    """False demands a login for public repositories too."""
    feature_mailing: bool = False
    """True demands a confirmed e-mail address."""
    feature_require_encrypted_basic_auth: bool = False
    """True refuses plain account passwords from image clients."""
    feature_app_specific_tokens: bool = True
    """True offers tokens for image clients in place of the account's password."""
    feature_username_confirmation: bool = True
    """True lets people from other directories confirm their name once."""
    feature_user_metadata: bool = False
    """True asks for name and company."""
    feature_user_last_accessed: bool = True
    """True records when an account was last used."""
    feature_team_syncing: bool = False
    """Synchronising teams with a directory; not offered yet."""
    team_resync_stale_time: Duration = parse_duration("30m")
    """How old a synchronised team may grow."""
    robots_disallow: bool = False
    """True refuses robot accounts."""
    avatar_kind: Literal["local", "gravatar"] = "local"
    """How avatars are made."""
    public_namespaces: list[str] = Field(default_factory=list)
    """Namespaces shown to everybody."""
    feature_superusers_full_access: bool = False
    """True lets superusers into every namespace."""
    feature_superusers_org_creation_only: bool = False
    """True leaves the creation of organizations to superusers."""
    user_recovery_token_lifetime: Duration = parse_duration("30m")
    """How long a recovery link works."""
    action_log_audit_logins: bool = True
    """True writes an audit row for each login."""
