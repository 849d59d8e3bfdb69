"""What a caller's lists of repositories hold, and the opaque tokens of their pages.

Spec: Quay API, `next_page`: an opaque token, valid for two days; one that cannot be read is the
first page.
"""

import base64
import binascii
import hashlib
import hmac
import json

from hatoba.registry.access.scopes import Scope
from hatoba.registry.api.call import Call
from hatoba.registry.repositories.service import Listing

TOKEN_SECONDS = 2 * 86_400


async def listing_for(
    call: Call,
    *,
    namespace: str | None = None,
    only_starred: bool = False,
    include_public: bool = True,
    kind: str = "image",
) -> Listing:
    """Return a listing of what the caller can read."""
    account = call.identity.account
    if account is None or not call.identity.has(Scope.READ_REPO):
        return Listing(namespace=namespace, include_public=include_public, kind=kind)
    reach = await call.rooms.access.reach(account)
    return Listing(
        account_id=account.id,
        administered=reach.administered,
        granted=reach.repositories,
        everything=call.rooms.access.reaches_everything(call.identity),
        include_public=include_public,
        namespace=namespace,
        only_starred=only_starred,
        kind=kind,
    )


def page_token(call: Call, *, after_id: int) -> str:
    """Return the token of the page that begins after an id."""
    return seal(call, after_id)


def after_id_of(call: Call) -> int:
    """Return after which id the wanted page begins; 0 for the first."""
    values = unseal(call)
    return int(values[0]) if len(values) == 1 else 0


def seal(call: Call, *values: int) -> str:
    """Return an opaque token that says where a page begins."""
    at = int(call.rooms.clock.now().timestamp())
    body = base64.urlsafe_b64encode(json.dumps([at, *values]).encode()).decode()
    return f"{body}.{_sign(call, body)}"


def unseal(call: Call) -> list[int]:
    """Return what the token of the wanted page says; nothing for the first page."""
    body, _, signature = call.request.query_params.get("next_page", "").partition(".")
    if not hmac.compare_digest(signature.encode(), _sign(call, body).encode()):
        return []
    try:
        at, *values = json.loads(base64.urlsafe_b64decode(body))
    except (binascii.Error, ValueError):
        return []
    fresh = call.rooms.clock.now().timestamp() - at <= TOKEN_SECONDS
    return [int(value) for value in values] if fresh else []


def _sign(call: Call, body: str) -> str:
    key = call.rooms.passwords.key
    return hmac.new(key, b"page\0" + body.encode(), hashlib.sha256).hexdigest()[:32]
