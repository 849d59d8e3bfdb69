"""Who may do what in a repository, and the default permissions of an organization."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table

from hatoba.registry.db.tables.columns import METADATA

roles = Table(
    "role",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("role_name", "name", unique=True),
)

repository_permissions = Table(
    "repositorypermission",
    METADATA,
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

permission_prototypes = Table(
    "permissionprototype",
    METADATA,
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
