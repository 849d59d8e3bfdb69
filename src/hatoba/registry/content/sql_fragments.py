"""Parts of prepared statements that several of them have."""

from hatoba.sql.prepared import ranged


def repository_named(namespace: str, name: str) -> str:
    """Return the question for id, namespace_user_id and state of a repository, deleted or not.

    Both are SQL expressions, such as parameters. There is one row at most (unique index).
    """
    return f"""(
       SELECT id, namespace_user_id, state
         FROM repository
        WHERE namespace_user_id = (SELECT id FROM "user" WHERE username = {namespace})
          AND {ranged("repository.name", name)}
        ORDER BY repository.name
        LIMIT 1)"""  # noqa: S608 -- made of constants
