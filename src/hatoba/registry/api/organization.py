"""Organizations: /organization/..."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.access.errors import PermissionDenied
from hatoba.registry.accounts.models import Account
from hatoba.registry.accounts.organizations import Member
from hatoba.registry.accounts.policy import check_email
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.api.user import check_tag_expiration
from hatoba.registry.api.views import account_avatar, team_avatar, team_view


class NewOrganizationIn(msgspec.Struct):
    """Body of POST /organization/."""

    name: str
    email: str | UnsetType = UNSET


async def create_organization(call: Call) -> Response:
    """Quay API: POST /api/v1/organization/."""
    settings = call.rooms.settings
    if settings.feature_superusers_org_creation_only and not call.rooms.access.has_superpower(
        call.identity
    ):
        raise PermissionDenied
    wanted = await call.body(NewOrganizationIn)
    email = None if wanted.email is UNSET else wanted.email
    try:
        if email:
            check_email(email)
        await call.rooms.organizations.create(
            name=wanted.name, email=email, owner=call.account, actor=call.identity.actor
        )
    except HatobaError as error:
        raise BadRequest(_without_address(error)) from error
    return JsonAnswer("Created", status_code=201)


def _without_address(error: HatobaError) -> str:
    return "Invalid email address" if "email address:" in error.message else error.message


async def organization_view(call: Call, organization: Account) -> JsonObject:
    """Return an organization as an administrator, a member or anybody else sees it."""
    access = call.rooms.access
    is_admin = await access.administers(call.identity, organization)
    is_member = is_admin or await access.belongs_to(call.identity, organization)
    view: JsonObject = {
        "name": organization.username,
        "email": organization.email if is_admin and "@" in organization.email else "",
        "avatar": account_avatar(organization),
        "is_admin": is_admin,
        "is_member": is_member,
    }
    if is_member:
        view |= await _teams(call, organization, is_admin=is_admin)
    if is_admin:
        view |= {
            "invoice_email": organization.invoice_email,
            "invoice_email_address": organization.invoice_email_address,
            "tag_expiration_s": organization.tag_expiration_seconds,
            "is_free_account": not organization.has_billing,
        }
    return view


async def _teams(call: Call, organization: Account, *, is_admin: bool) -> JsonObject:
    teams = await call.rooms.organizations.teams(organization)
    mine: set[int] = set()
    if not is_admin and call.identity.account is not None:
        mine = await call.rooms.teams.joined_by(organization, account_id=call.account.id)
    return {
        "teams": {
            team.name: team_view(team, can_view=is_admin or team.id in mine) for team in teams
        },
        "ordered_teams": [team.name for team in teams],
    }


async def show_organization(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>."""
    return await organization_view(call, call.organization)


class ChangeOrganizationIn(msgspec.Struct):
    """Body of PUT /organization/<org>."""

    email: str | UnsetType = UNSET
    contact_email: str | UnsetType = UNSET
    invoice_email: bool | UnsetType = UNSET
    invoice_email_address: str | UnsetType | None = UNSET
    tag_expiration_s: int | UnsetType = UNSET


async def change_organization(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/organization/<org>."""
    wanted = await call.body(ChangeOrganizationIn)
    organization = call.organization
    for kind, values in _changes(call, wanted):
        organization = await call.rooms.organizations.change(
            organization, values=values, kind=kind, actor=call.identity.actor
        )
    return await organization_view(call, organization)


def _changes(call: Call, wanted: ChangeOrganizationIn) -> list[tuple[str, dict[str, Any]]]:
    changes: list[tuple[str, dict[str, Any]]] = []
    email = wanted.email if wanted.email is not UNSET else wanted.contact_email
    if email is not UNSET and email != call.organization.email:
        try:
            check_email(email)
        except HatobaError as error:
            raise BadRequest("Invalid email address") from error
        changes.append(("org_change_email", {"email": email}))
    invoices = {
        name: value
        for name in ("invoice_email", "invoice_email_address")
        if (value := getattr(wanted, name)) is not UNSET
    }
    if invoices:
        changes.append(("org_change_invoicing", invoices))
    if wanted.tag_expiration_s is not UNSET:
        check_tag_expiration(call, wanted.tag_expiration_s)
        expiration = {"removed_tag_expiration_s": wanted.tag_expiration_s}
        changes.append(("org_change_tag_expiration", expiration))
    return changes


async def delete_organization(call: Call) -> Response:
    """Quay API: DELETE /api/v1/organization/<org>."""
    await call.rooms.deletion.delete(call.organization, actor=call.identity.actor)
    return no_content()


def _member_view(member: Member) -> JsonObject:
    return {
        "name": member.account.username,
        "kind": "robot" if member.account.is_robot else "user",
        "avatar": account_avatar(member.account),
        "teams": [{"name": name, "avatar": team_avatar(name)} for name in member.teams],
        "repositories": list(member.repositories),
    }


async def list_members(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/members."""
    members = await call.rooms.organizations.members(call.organization)
    shown = [_member_view(member) for member in members if not member.account.is_robot]
    return {"members": shown}


async def list_collaborators(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/collaborators."""
    members = await call.rooms.organizations.collaborators(call.organization)
    return {
        "collaborators": [
            {
                "kind": "user",
                "name": member.account.username,
                "avatar": account_avatar(member.account),
                "repositories": list(member.repositories),
            }
            for member in members
        ]
    }


async def show_member(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/members/<member>."""
    member = await call.rooms.organizations.member(call.organization, name=call.path("member"))
    return _member_view(member)


async def remove_member(call: Call) -> Response:
    """Quay API: DELETE /api/v1/organization/<org>/members/<member>."""
    await call.rooms.organizations.remove_member(
        call.organization, name=call.path("member"), actor=call.identity.actor
    )
    return no_content()


_ADMIN = Needs.ORG_ADMIN

ROWS = (
    Row("POST", "/organization/", create_organization, Needs.USER_ADMIN),
    Row("GET", "/organization/{org}", show_organization, Needs.ORG_ANY),
    Row("PUT", "/organization/{org}", change_organization, _ADMIN),
    Row("DELETE", "/organization/{org}", delete_organization, _ADMIN, is_fresh=True),
    Row("GET", "/organization/{org}/members", list_members, _ADMIN),
    Row("GET", "/organization/{org}/collaborators", list_collaborators, _ADMIN),
    Row("GET", "/organization/{org}/members/{member}", show_member, _ADMIN),
    Row("DELETE", "/organization/{org}/members/{member}", remove_member, _ADMIN),
)
