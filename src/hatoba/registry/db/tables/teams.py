"""Teams of organizations, their members and invitations."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import METADATA, Moment

team_roles = Table(
    "teamrole",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("teamrole_name", "name"),
)

teams = Table(
    "team",
    METADATA,
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

team_members = Table(
    "teammember",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("team_id", Integer, ForeignKey("team.id"), nullable=False),
    Index("teammember_team_id", "team_id"),
    Index("teammember_user_id", "user_id"),
    Index("teammember_user_id_team_id", "user_id", "team_id", unique=True),
)

team_member_invites = Table(
    "teammemberinvite",
    METADATA,
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

team_syncs = Table(
    "teamsync",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("team_id", Integer, ForeignKey("team.id"), nullable=False),
    Column("transaction_id", String(255), nullable=False),
    Column("last_updated", Moment(), nullable=True),
    Column("service_id", Integer, ForeignKey("loginservice.id"), nullable=False),
    Column("config", Text, nullable=False),
    Index("teamsync_last_updated", "last_updated"),
    Index("teamsync_service_id", "service_id"),
    Index("teamsync_team_id", "team_id", unique=True),
)
