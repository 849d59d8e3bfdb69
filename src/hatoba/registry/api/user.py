"""The current user: /user/, /users/<name> and the encrypted password ("client key")."""

import json
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.errors import Conflict, InvalidInput
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.access.models import Identity
from hatoba.registry.access.scopes import Scope
from hatoba.registry.accounts.errors import InvalidCredentials, InvalidPassword
from hatoba.registry.accounts.models import Account
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content, reject
from hatoba.registry.api.problems import BadRequest, HiddenNotFound, InvalidOwner
from hatoba.registry.api.views import (
    account_avatar,
    organization_avatar,
)


async def user_view(call: Call, account: Account) -> JsonObject:
    """Return an account as itself, a superuser or somebody else sees it."""
    access, identity = call.rooms.access, call.identity
    is_me = identity.account is not None and identity.account.id == account.id
    view: JsonObject = {
        "anonymous": False,
        "username": account.username,
        "avatar": account_avatar(account),
    }
    if is_me and identity.has(Scope.ADMIN_USER):
        view |= await _own_details(call, account)
    if is_me and identity.has(Scope.READ_USER):
        view["organizations"] = await _organizations(call, account)
    if access.has_superpower(identity):
        view["super_user"] = access.is_superuser(account)
    return view


async def _own_details(call: Call, account: Account) -> JsonObject:
    prompts, logins = await call.rooms.users.details(account)
    return {
        "can_create_repo": True,
        "is_me": True,
        "verified": account.verified,
        "email": account.email,
        "logins": [
            {"service": service, "service_identifier": ident, "metadata": json.loads(metadata)}
            for service, ident, metadata in logins
        ],
        "invoice_email": account.invoice_email,
        "invoice_email_address": account.invoice_email_address,
        "preferred_namespace": account.has_billing,
        "tag_expiration_s": account.tag_expiration_seconds,
        "prompts": prompts,
        "company": account.company,
        "family_name": account.family_name,
        "given_name": account.given_name,
        "location": account.location,
        "is_free_account": not account.has_billing,
        "has_password_set": account.password_hash is not None,
    }


async def _organizations(call: Call, account: Account) -> list[JsonObject]:
    shown = [
        _membership(call, organization, roles)
        for organization, roles in await call.rooms.users.organizations_of(account)
    ]
    names = {organization["name"] for organization in shown}
    for name in call.rooms.settings.public_namespaces:
        organization = await call.rooms.organizations.find(name)
        if organization is not None and name not in names:
            shown.append(_membership(call, organization, set()))
    return shown


def _membership(call: Call, organization: Account, roles: set[str]) -> JsonObject:
    view: JsonObject = {
        "name": organization.username,
        "avatar": organization_avatar(organization),
        "can_create_repo": bool(roles & {"admin", "creator"})
        and call.identity.has(Scope.CREATE_REPO),
        "public": organization.username in call.rooms.settings.public_namespaces,
    }
    if call.identity.has(Scope.ADMIN_USER):
        view |= {
            "is_org_admin": "admin" in roles,
            "preferred_namespace": organization.has_billing,
        }
    return view


async def show_me(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/user/."""
    return await user_view(call, call.account)


async def show_user(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/users/<username>."""
    account = await call.rooms.users.find(call.path("username"))
    if account is None:
        raise HiddenNotFound("There is no such user")
    return await user_view(call, account)


class NewUserIn(msgspec.Struct):
    """Body of POST /user/."""

    username: str
    password: str
    email: str | UnsetType = UNSET
    invite_code: str | UnsetType = UNSET


async def create_me(call: Call) -> Response:
    """Quay API: POST /api/v1/user/."""
    settings = call.rooms.settings
    if not settings.feature_user_creation or not settings.feature_direct_login:
        raise HiddenNotFound("Accounts are created by superusers here")
    wanted = await call.body(NewUserIn)
    if settings.feature_invite_only_user_creation and wanted.invite_code is UNSET:
        raise BadRequest("Cannot create non-invited user")
    email = None if wanted.email is UNSET else wanted.email
    if settings.feature_mailing and not email:
        raise BadRequest("Email address is required")
    existing = await call.rooms.users.find_any(wanted.username)
    if existing is not None:
        raise BadRequest("The username already exists")
    try:
        account = await call.rooms.users.create(
            username=wanted.username,
            password=wanted.password,
            email=email,
            actor=call.identity.actor,
        )
    except (InvalidInput, Conflict) as error:
        raise BadRequest(error.message) from error
    call.identity = _signed_in(call, account)
    response = JsonAnswer(await user_view(call, account))
    call.sessions.write(response, call.sessions.log_in(account.uuid), tell_token=True)
    return response


def _signed_in(call: Call, account: Account) -> Identity:
    return Identity(account=account, credential="user", reference=account.uuid, ip=call.identity.ip)


class ChangeUserIn(msgspec.Struct):
    """Body of PUT /user/."""

    password: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    invoice_email: bool | UnsetType = UNSET
    invoice_email_address: str | UnsetType | None = UNSET
    tag_expiration_s: int | UnsetType = UNSET
    given_name: str | UnsetType | None = UNSET
    family_name: str | UnsetType | None = UNSET
    company: str | UnsetType | None = UNSET
    location: str | UnsetType | None = UNSET


INVOICES = ("invoice_email", "invoice_email_address")
PROFILE = (*INVOICES, "given_name", "family_name", "company", "location")


async def change_me(call: Call) -> Response:
    """Quay API: PUT /api/v1/user/."""
    wanted = await call.body(ChangeUserIn)
    account, users, actor = call.account, call.rooms.users, call.identity.actor
    if wanted.tag_expiration_s is not UNSET:
        check_tag_expiration(call, wanted.tag_expiration_s)
    if wanted.email is not UNSET and wanted.email != account.email:
        try:
            account = await users.set_email(account, email=wanted.email, actor=actor)
        except (InvalidInput, Conflict) as error:
            raise BadRequest(error.message) from error
    shown = PROFILE if call.rooms.settings.feature_user_metadata else INVOICES
    changes: dict[str, Any] = {
        name: value for name in shown if (value := getattr(wanted, name)) is not UNSET
    }
    if wanted.tag_expiration_s is not UNSET:
        changes["removed_tag_expiration_s"] = wanted.tag_expiration_s
    if changes:
        account = await users.set_profile(account, changes=changes, actor=actor)
    if wanted.password is UNSET:
        return JsonAnswer(await user_view(call, account))
    try:
        account = await users.set_password(account, password=wanted.password, actor=actor)
    except InvalidPassword as error:
        raise BadRequest(error.message) from error
    response = JsonAnswer(await user_view(call, account))
    call.sessions.write(response, call.sessions.log_in(account.uuid), tell_token=True)
    return response


def check_tag_expiration(call: Call, seconds: int) -> None:
    """Do nothing for one of TAG_EXPIRATION_OPTIONS.

    Raises:
        PlainBadRequest: for anything else, or where the choice is fixed.
    """
    settings = call.rooms.settings
    options = {option.total_seconds() for option in settings.tag_expiration_options}
    if seconds < 0:
        raise BadRequest(f"{seconds} is less than the minimum of 0")
    if not settings.feature_change_tag_expiration or seconds not in options:
        raise reject("Invalid tag expiration option")


async def delete_me(call: Call) -> Response:
    """Quay API: DELETE /api/v1/user/."""
    await call.rooms.deletion.delete(call.account, actor=call.identity.actor)
    return no_content()


class ConvertIn(msgspec.Struct):
    """Body of POST /user/convert."""

    adminUser: str  # noqa: N815 -- the public key
    adminPassword: str  # noqa: N815 -- the public key


async def convert_me(call: Call) -> Response:
    """Quay API: POST /api/v1/user/convert: the caller becomes an organization."""
    wanted = await call.body(ConvertIn)
    try:
        owner = await call.rooms.credentials.check_password(
            username=wanted.adminUser, password=wanted.adminPassword
        )
    except InvalidCredentials as error:
        raise InvalidOwner("The admin user credentials are not valid") from error
    if owner.id == call.account.id:
        raise InvalidOwner("The admin user is not valid")
    await call.rooms.organizations.convert(call.account, owner=owner, actor=call.identity.actor)
    response = JsonAnswer({"success": True})
    call.sessions.write(response, call.sessions.log_in(owner.uuid), tell_token=True)
    return response


class PasswordIn(msgspec.Struct):
    """Body with a password."""

    password: str


async def make_client_key(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/user/clientkey."""
    wanted = await call.body(PasswordIn)
    try:
        await call.rooms.credentials.check_password(
            username=call.account.username, password=wanted.password
        )
    except InvalidCredentials as error:
        raise BadRequest(error.message) from error
    return {"key": call.rooms.passwords.encrypt(wanted.password)}


ROWS = (
    Row("GET", "/user/", show_me, Needs.USER_READ, open_without_login=True),
    Row("POST", "/user/", create_me, Needs.NOTHING),
    Row("PUT", "/user/", change_me, Needs.USER_ADMIN, is_fresh=True),
    Row("DELETE", "/user/", delete_me, Needs.USER_ADMIN, is_fresh=True),
    Row("GET", "/users/{username}", show_user, Needs.NOTHING),
    Row("POST", "/user/convert", convert_me, Needs.USER_ADMIN),
    Row("POST", "/user/clientkey", make_client_key, Needs.USER_ADMIN),
)
