"""From a request to an identity.

Spec: Quay's order: a valid OAuth bearer token first, then the session cookie; Basic credentials
only where a route takes them. A token that is worth nothing leaves the caller anonymous.
"""

import base64
import binascii
import ipaddress

from starlette.requests import Request

from hatoba.registry.access.models import Identity, RepositoryGrant, Role
from hatoba.registry.access.scopes import EVERYTHING, parse_scopes
from hatoba.registry.accounts.credentials import Recognised
from hatoba.registry.accounts.errors import InvalidCredentials
from hatoba.registry.rooms import Rooms
from hatoba.registry.web.sessions import Session, Sessions


def client_address(request: Request) -> str | None:
    """Return the caller's address, as the router in front of us tells it.

    Routers append what they see, so the last address is theirs and all before it are the
    caller's own words.
    """
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    if forwarded:
        try:
            return str(ipaddress.ip_address(forwarded))
        except ValueError:
            # Anybody can send anything; what is no address is not written into the log.
            pass
    return None if request.client is None else request.client.host


def identity_of(recognised: Recognised, *, ip: str | None) -> Identity:
    """Return the identity of credentials that were recognised."""
    account, token = recognised.account, recognised.access_token
    if account is None:
        if token is None:
            raise InvalidCredentials("Specified credentials are invalid")
        grant = RepositoryGrant(repository_id=token.repository_id, role=Role.named(token.role))
        return Identity(
            repository_grant=grant, credential=recognised.kind, reference=str(token.id), ip=ip
        )
    scopes = EVERYTHING
    reference = account.uuid
    if recognised.oauth_token is not None:
        scopes = parse_scopes(recognised.oauth_token.scopes)
        reference = recognised.oauth_token.uuid
    elif recognised.app_token is not None:
        reference = recognised.app_token.uuid
    elif account.is_robot:
        reference = account.username
    return Identity(
        account=account,
        scopes=scopes,
        credential=recognised.kind,
        reference=reference,
        ip=ip,
    )


def parse_basic(header: str) -> tuple[str, str]:
    """Read an `Authorization: Basic` header.

    Raises:
        InvalidCredentials: it is another scheme, or not name and password in base64.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidCredentials("Specified credentials are invalid")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidCredentials("Specified credentials are invalid") from error
    username, colon, password = decoded.partition(":")
    if not colon or "\0" in decoded:
        raise InvalidCredentials("Specified credentials are invalid")
    return username, password


async def identify(
    request: Request, *, rooms: Rooms, sessions: Sessions, takes_basic: bool = False
) -> tuple[Identity, Session, bool]:
    """Return who asks, the browser session, and whether a valid OAuth token was sent.

    Raises:
        InvalidCredentials, TooManyLogins: Basic credentials, where they are taken, are wrong.
    """
    ip = client_address(request)
    session = sessions.read(request)
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        recognised = await rooms.credentials.check_bearer(value.strip())
        if recognised is not None:
            return identity_of(recognised, ip=ip), session, True
    if takes_basic and scheme.lower() == "basic":
        username, password = parse_basic(request.headers["authorization"])
        recognised = await rooms.credentials.check_basic(username=username, password=password)
        return identity_of(recognised, ip=ip), session, True
    if session.account_uuid is not None:
        account = await rooms.users.find_by_uuid(session.account_uuid)
        if account is not None and account.enabled and not account.is_organization:
            identity = Identity(account=account, credential="user", reference=account.uuid, ip=ip)
            return identity, session, False
    return Identity(ip=ip), session, False
