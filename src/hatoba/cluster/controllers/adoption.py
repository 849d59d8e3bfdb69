"""Who belongs to a controller: matching orphans are adopted, the no longer matching let go."""

from collections.abc import Callable, Iterable

from hatoba.cluster.controllers.client import Client
from hatoba.cluster.controllers.selectors import matches
from hatoba.cluster.controllers.values import (
    controller_of,
    controller_reference,
    is_deleting,
    key_of,
    labels_of,
    owners_of,
    thawed,
    uid_of,
)
from hatoba.cluster.objects import ResourceName
from hatoba.kernel.errors import Conflict, NotFound
from hatoba.kernel.json import JsonObject


async def claim(
    client: Client,
    resource: ResourceName,
    owner: JsonObject,
    candidates: Iterable[JsonObject],
    *,
    owners: ResourceName,
    adoptable: Callable[[JsonObject], bool] = lambda _: True,
) -> list[JsonObject]:
    """Return the owner's objects among the candidates, after adopting and releasing.

    `owners` is the resource of the owner itself: before the first adoption it is read afresh, as
    a cache may still show an owner that is already going or another one of the same name.
    """
    mine: list[JsonObject] = []
    may_adopt: bool | None = None
    for item in candidates:
        reference = controller_of(item)
        fits = matches(owner["spec"].get("selector"), labels_of(item))
        if reference is not None:
            if reference["uid"] != uid_of(owner):
                continue
            if fits or is_deleting(owner):
                mine.append(item)
            else:
                await _release(client, resource, item, owner)
        elif fits and adoptable(item) and not is_deleting(owner) and not is_deleting(item):
            if may_adopt is None:
                may_adopt = await _is_alive(client, owners, owner)
            if may_adopt:
                mine.append(await _adopt(client, resource, item, owner))
    return mine


async def _is_alive(client: Client, owners: ResourceName, owner: JsonObject) -> bool:
    fresh = await client.read(owners, key_of(owner))
    return fresh is not None and uid_of(fresh) == uid_of(owner) and not is_deleting(fresh)


async def _adopt(
    client: Client, resource: ResourceName, item: JsonObject, owner: JsonObject
) -> JsonObject:
    changed = thawed(item)
    changed["metadata"]["ownerReferences"] = [*owners_of(item), controller_reference(owner)]
    return await client.update(resource, changed)


async def _release(
    client: Client, resource: ResourceName, item: JsonObject, owner: JsonObject
) -> None:
    changed = thawed(item)
    changed["metadata"]["ownerReferences"] = [
        reference for reference in owners_of(item) if reference["uid"] != uid_of(owner)
    ]
    try:
        await client.update(resource, changed)
    except NotFound:
        return
    except Conflict:
        # Changed meanwhile: the event of that change brings us back here.
        return
