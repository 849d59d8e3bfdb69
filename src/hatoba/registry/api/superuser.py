"""The superusers' API: /superuser/..."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.accounts.models import Account, AccountKind
from hatoba.registry.accounts.policy import check_username
from hatoba.registry.api.call import Call, Needs, Row, no_content, reject
from hatoba.registry.api.listing import after_id_of, page_token
from hatoba.registry.api.problems import BadRequest, HiddenNotFound
from hatoba.registry.api.views import organization_avatar, superuser_view

MAXIMUM_PAGE = 100
LIMIT_HELP = "Limit to the number of results to return per page. Max 100."


def _view(call: Call, account: Account) -> JsonObject:
    return superuser_view(account, is_superuser=call.rooms.access.is_superuser(account))


async def _page(call: Call, kind: AccountKind) -> tuple[list[Account], JsonObject]:
    limited = "limit" in call.request.query_params
    limit = call.number("limit", default=MAXIMUM_PAGE, help_text=LIMIT_HELP)
    if limit > MAXIMUM_PAGE:
        raise BadRequest(f"Page limit cannot be above {MAXIMUM_PAGE}")
    found = await call.rooms.users.page(
        kind=kind,
        with_disabled=call.flag("disabled", default=True),
        after_id=after_id_of(call),
        limit=max(limit, 1) + 1 if limited else None,
    )
    if not limited or len(found) <= limit:
        return found, {}
    shown = found[: max(limit, 1)]
    return shown, {"next_page": page_token(call, after_id=shown[-1].id)}


async def list_users(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/superuser/users/."""
    found, more = await _page(call, AccountKind.PERSON)
    return {"users": [_view(call, account) for account in found], **more}


class NewUserIn(msgspec.Struct):
    """Body of POST /superuser/users/."""

    username: str
    email: str | UnsetType = UNSET


async def create_user(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/superuser/users/."""
    wanted = await call.body(NewUserIn)
    password = call.rooms.users.generate_password()
    email = None if wanted.email is UNSET else wanted.email
    account = await _plainly(
        call.rooms.users.create(
            username=wanted.username,
            password=password,
            email=email,
            actor=call.identity.actor,
        )
    )
    return {
        "username": account.username,
        "email": email,
        "password": password,
        "encrypted_password": call.rooms.passwords.encrypt(password),
    }


async def _plainly(work: Any) -> Any:
    """Answer refusals with `{"message": ...}`, as this part of Quay's API does."""
    try:
        return await work
    except HatobaError as error:
        raise reject(error.message) from error


async def _user(call: Call) -> Account:
    account = await call.rooms.users.find(call.path("username"))
    if account is None:
        raise HiddenNotFound("There is no such user")
    return account


async def show_user(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/superuser/users/<username>."""
    return _view(call, await _user(call))


class ChangeUserIn(msgspec.Struct):
    """Body of PUT /superuser/users/<username>."""

    password: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


async def change_user(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/superuser/users/<username>."""
    wanted = await call.body(ChangeUserIn)
    account = await _user(call)
    if call.rooms.access.is_superuser(account):
        raise BadRequest("Cannot update a superuser")
    users, actor = call.rooms.users, call.identity.actor
    extra = {}
    if wanted.password is not UNSET:
        account = await _plainly(users.set_password(account, password=wanted.password, actor=actor))
        extra = {"encrypted_password": call.rooms.passwords.encrypt(wanted.password)}
    if wanted.email is not UNSET:
        account = await _plainly(users.set_email(account, email=wanted.email, actor=actor))
    if wanted.enabled is not UNSET:
        account = await users.set_enabled(account, enabled=wanted.enabled, actor=actor)
    return _view(call, account) | extra


async def delete_user(call: Call) -> Response:
    """Quay API: DELETE /api/v1/superuser/users/<username>."""
    account = await _user(call)
    if call.rooms.access.is_superuser(account):
        raise BadRequest("Cannot delete a superuser")
    await call.rooms.deletion.delete(account, actor=call.identity.actor)
    return no_content()


def _organization_view(organization: Account) -> JsonObject:
    return {
        "name": organization.username,
        "email": organization.email,
        "avatar": organization_avatar(organization),
    }


async def list_organizations(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/superuser/organizations/."""
    found, more = await _page(call, AccountKind.ORGANIZATION)
    return {"organizations": [_organization_view(item) for item in found], **more}


async def _organization(call: Call) -> Account:
    organization = await call.rooms.organizations.find(call.path("name"))
    if organization is None:
        raise HiddenNotFound("There is no such organization")
    return organization


class RenameIn(msgspec.Struct):
    """Body of PUT /superuser/organizations/<name>."""

    name: str | UnsetType = UNSET


async def rename_organization(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/superuser/organizations/<name>."""
    wanted = await call.body(RenameIn)
    organization = await _organization(call)
    if wanted.name is not UNSET and wanted.name != organization.username:
        try:
            check_username(wanted.name, noun="username")
        except HatobaError as error:
            raise reject(error.message) from error
        organization = await _plainly(
            call.rooms.organizations.rename(
                organization, name=wanted.name, actor=call.identity.actor
            )
        )
    return _organization_view(organization)


async def delete_organization(call: Call) -> Response:
    """Quay API: DELETE /api/v1/superuser/organizations/<name>."""
    await call.rooms.deletion.delete(await _organization(call), actor=call.identity.actor)
    return no_content()


async def take_ownership(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/superuser/takeownership/<namespace>."""
    namespace = await call.rooms.users.find_any(call.path("namespace"))
    if namespace is None or namespace.is_robot:
        raise HiddenNotFound("There is no such namespace")
    if call.rooms.access.is_superuser(namespace):
        raise BadRequest("Cannot take ownership of a superuser")
    organizations, actor = call.rooms.organizations, call.identity.actor
    if namespace.is_organization:
        await organizations.take_over(namespace, owner=call.account, actor=actor)
    else:
        await organizations.convert(namespace, owner=call.account, actor=actor)
    return {"namespace": namespace.username}


async def show_status(_call: Call) -> JsonValue:
    """Quay API: GET /api/v1/superuser/registrystatus."""
    return {"provider_id": "file", "status": "ready"}


_SU = Needs.SUPERUSER

ROWS = (
    Row("GET", "/superuser/users/", list_users, _SU, is_fresh=True),
    Row("POST", "/superuser/users/", create_user, _SU, is_fresh=True),
    Row("GET", "/superuser/users/{username}", show_user, _SU, is_fresh=True),
    Row("PUT", "/superuser/users/{username}", change_user, _SU, is_fresh=True),
    Row("DELETE", "/superuser/users/{username}", delete_user, _SU, is_fresh=True),
    Row("GET", "/superuser/organizations/", list_organizations, _SU, is_fresh=True),
    Row("PUT", "/superuser/organizations/{name}", rename_organization, _SU, is_fresh=True),
    Row("DELETE", "/superuser/organizations/{name}", delete_organization, _SU, is_fresh=True),
    Row("POST", "/superuser/takeownership/{namespace}", take_ownership, _SU, is_fresh=True),
    Row("GET", "/superuser/registrystatus", show_status, Needs.NOTHING),
)
