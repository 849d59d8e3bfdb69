"""Pages of names, each by one question: tags of a repository, repositories of the catalog.

Called by `listings` and `catalog`. On PostgreSQL the question is a prepared statement that walks
an index from where the page begins, so that a page costs the same in a repository of ten tags and
of a million; SQLite asks the functions of `store`.
"""

from typing import Final

from hatoba.kernel.names import RepositoryName
from hatoba.registry.content import store
from hatoba.registry.content.shelf import Shelf
from hatoba.registry.content.sql_fragments import repository_named
from hatoba.sql.prepared import ranged

_TAGS: Final = f"""
SELECT ARRAY(
       SELECT DISTINCT t.name
         FROM tag t
        WHERE t.repository_id = r.id AND t.name > $3
          AND NOT t.hidden AND t.manifest_id IS NOT NULL
          AND (t.lifetime_end_ms IS NULL OR t.lifetime_end_ms > $5)
        ORDER BY t.name
        LIMIT $4) AS names
  FROM {repository_named("$1", "$2")} r
 WHERE r.state <> 3
"""  # noqa: S608 -- made of constants

_ADMINISTERED: Final = """
SELECT t.organization_id
  FROM teammember m
  JOIN team t ON t.id = m.team_id
  JOIN teamrole o ON o.id = t.role_id
 WHERE m.user_id = $1 AND o.name = 'admin'"""
_GRANTED: Final = """
SELECT repository_id FROM repositorypermission WHERE user_id = $1
 UNION ALL
SELECT p.repository_id
  FROM teammember m
  JOIN repositorypermission p ON p.team_id = m.team_id
 WHERE m.user_id = $1"""

# Namespaces are walked in their order, those alone in which there may be something to see: robots
# have no repositories, and without public ones in the catalog most namespaces show nothing.
REPOSITORIES: Final = f"""
SELECT ARRAY(
SELECT u.username || '/' || found.name AS name
  FROM "user" u
 CROSS JOIN LATERAL (
       SELECT r.name
         FROM repository r
        WHERE {ranged("r.namespace_user_id", "u.id")} AND r.state <> 3
          AND r.name > CASE u.username WHEN $3 THEN $4 ELSE '' END
          AND (r.visibility_id = $2
               OR u.id = $1
               OR u.id IN ({_ADMINISTERED})
               OR r.id IN ({_GRANTED}))
        ORDER BY r.namespace_user_id, r.name
        LIMIT $5) found
 WHERE u.username >= $3 AND u.enabled AND NOT u.robot
   AND ($2::int IS NOT NULL
        OR u.id = $1
        OR u.id IN ({_ADMINISTERED})
        OR u.id IN (SELECT namespace_user_id FROM repository WHERE id IN ({_GRANTED})))
 ORDER BY u.username, found.name
 LIMIT $5) AS names
"""  # noqa: S608 -- made of constants


async def tag_names(
    shelf: Shelf, name: RepositoryName, *, after: str | None, limit: int
) -> list[str] | None:
    """Return names of living tags in order; None where there is no such repository."""
    now_ms = shelf.now_ms()
    if shelf.questions is not None:
        rows = await shelf.questions.ask(
            _TAGS, name.namespace, name.name, after or "", limit, now_ms
        )
        return list(rows[0]["names"]) if rows else None
    async with shelf.database.read() as connection:
        repository = await store.find_repository(connection, name)
        if repository is None:
            return None
        return await store.tag_names(
            connection, repository_id=repository.id, after=after, limit=limit, now_ms=now_ms
        )


async def visible_repositories(
    shelf: Shelf, *, account_id: int | None, shows_public: bool, after: str | None, limit: int
) -> list[str]:
    """Return `namespace/name` of what an account may see, on PostgreSQL."""
    assert shelf.questions is not None
    namespace, _, name = (after or "").partition("/")
    visibility = shelf.lookups.id("visibility", "public") if shows_public else None
    [row] = await shelf.questions.ask_together(
        REPOSITORIES, account_id, visibility, namespace, name, limit
    )
    return list(row["names"])
