"""Repositories and what is counted about them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)

from hatoba.registry.db.tables.columns import METADATA, Moment, trigram_index

visibilities = Table(
    "visibility",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("visibility_name", "name", unique=True),
)

repository_kinds = Table(
    "repositorykind",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("repositorykind_name", "name", unique=True),
)

repositories = Table(
    "repository",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("namespace_user_id", Integer, ForeignKey("user.id"), nullable=True),
    Column("name", String(255), nullable=False),
    Column("visibility_id", Integer, ForeignKey("visibility.id"), nullable=False),
    Column("description", Text, nullable=True),
    Column("badge_token", String(255), nullable=False),
    Column("kind_id", Integer, ForeignKey("repositorykind.id"), nullable=False, server_default="1"),
    Column("trust_enabled", Boolean, nullable=False, server_default=false()),
    Column("state", Integer, nullable=False, server_default="0"),
    Index("repository_kind_id", "kind_id"),
    Index("repository_namespace_user_id", "namespace_user_id"),
    Index("repository_namespace_user_id_name", "namespace_user_id", "name", unique=True),
    Index("repository_state", "state"),
    Index("repository_visibility_id", "visibility_id"),
)
trigram_index(repositories.c.description, name="repository_description__fulltext")
trigram_index(repositories.c.name, name="repository_name__fulltext")

stars = Table(
    "star",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("created", Moment(), nullable=False),
    Index("star_repository_id", "repository_id"),
    Index("star_user_id", "user_id"),
    Index("star_user_id_repository_id", "user_id", "repository_id", unique=True),
)

repository_action_counts = Table(
    "repositoryactioncount",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("count", Integer, nullable=False),
    Column("date", Date, nullable=False),
    Index("repositoryactioncount_date", "date"),
    Index("repositoryactioncount_repository_id", "repository_id"),
    Index("repositoryactioncount_repository_id_date", "repository_id", "date", unique=True),
)

repository_search_scores = Table(
    "repositorysearchscore",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("last_updated", Moment(), nullable=True),
    Index("repositorysearchscore_repository_id", "repository_id", unique=True),
    Index("repositorysearchscore_score", "score"),
)

deleted_repositories = Table(
    "deletedrepository",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("marked", Moment(), nullable=False),
    Column("original_name", String(255), nullable=False),
    Column("queue_id", String(255), nullable=True),
    Index("deletedrepository_original_name", "original_name"),
    Index("deletedrepository_queue_id", "queue_id"),
    Index("deletedrepository_repository_id", "repository_id", unique=True),
)
