"""Which changes the state of a repository allows.

A token says what its holder may do, for as long as it lives; the state of a repository decides at
once. It is asked within the transaction of each push and deletion. What the API changes is decided
there: people change neither mirrors nor what is read-only.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.content import store
from hatoba.registry.content.errors import RepositoryTakesNoPushes
from hatoba.registry.content.models import Caller, RepositoryRecord, RepositoryState

MIRRORS = frozenset({RepositoryState.MIRROR, RepositoryState.ORG_MIRROR})
WRITABLE = frozenset({RepositoryState.NORMAL})
"""States in which everybody who may push can."""
TAKING_UPLOADS = MIRRORS | WRITABLE
"""States in which blobs may be uploaded; who may name them is asked with the manifest."""


async def require_writable(
    connection: AsyncConnection, repository: RepositoryRecord, *, caller: Caller
) -> None:
    """Do nothing where a caller may push to, and delete from, a repository in its state.

    Raises:
        RepositoryTakesNoPushes: it is read-only, or the mirror of another robot.
    """
    if repository.state in WRITABLE:
        return
    if repository.state in MIRRORS:
        robot_id = await store.mirror_robot_id(connection, repository_id=repository.id)
        if robot_id is not None and caller.actor.account_id == robot_id:
            return
    raise RepositoryTakesNoPushes(
        f"Repository is in read only or mirror mode: {repository.state.value}"
    )


def require_uploads(repository: RepositoryRecord) -> None:
    """Do nothing where blobs may be uploaded.

    Raises:
        RepositoryTakesNoPushes: the repository is read-only.
    """
    if repository.state not in TAKING_UPLOADS:
        raise RepositoryTakesNoPushes(
            f"Repository is in read only or mirror mode: {repository.state.value}"
        )
