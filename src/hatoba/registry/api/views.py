"""How accounts, teams and avatars look in answers. Pure.

Spec: Quay API; the avatar's hash is SHA-256 (gravatar: MD5) of the e-mail address, trimmed and in
lower case, or of the name where there is none; its first two hex digits choose the colour.
"""

import hashlib
from datetime import datetime
from typing import Final, Literal

from hatoba.kernel.clock import rfc1123
from hatoba.kernel.json import JsonObject
from hatoba.registry.accounts.models import Account, AppToken, Team

# fmt: off
PALETTE: Final = (
    "#969696", "#aec7e8", "#ff7f0e", "#ffbb78", "#2ca02c", "#98df8a", "#d62728", "#ff9896",
    "#9467bd", "#c5b0d5", "#8c564b", "#c49c94", "#e377c2", "#f7b6d2", "#7f7f7f", "#c7c7c7",
    "#bcbd22", "#1f77b4", "#17becf", "#9edae5", "#393b79", "#5254a3", "#6b6ecf", "#9c9ede",
    "#9ecae1", "#31a354", "#b5cf6b", "#a1d99b", "#8c6d31", "#ad494a", "#e7ba52", "#a55194",
)
# fmt: on

AvatarKind = Literal["user", "robot", "team", "org", "app"]


def avatar(
    *, name: str, email: str | None, kind: AvatarKind, algorithm: str = "local"
) -> JsonObject:
    """Return an avatar."""
    text = (email or name).strip().lower().encode()
    if algorithm == "gravatar":
        digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
    else:
        digest = hashlib.sha256(text).hexdigest()
    color = PALETTE[int(digest[:2], 16) % len(PALETTE)]
    return {"name": name, "hash": digest, "color": color, "kind": kind}


def account_avatar(account: Account) -> JsonObject:
    """Return the avatar of a person or robot; organizations look like people here."""
    kind: AvatarKind = "robot" if account.is_robot else "user"
    return avatar(name=account.username, email=account.email, kind=kind)


def organization_avatar(organization: Account) -> JsonObject:
    """Return the avatar of an organization where it is not shown as a person."""
    return avatar(name=organization.username, email=organization.email, kind="org")


def team_avatar(name: str) -> JsonObject:
    """Return the avatar of a team."""
    return avatar(name=name, email=None, kind="team")


def date_text(moment: datetime | None) -> str | None:
    """Return a date as the API writes it."""
    return None if moment is None else rfc1123(moment)


def superuser_view(account: Account, *, is_superuser: bool) -> JsonObject:
    """Return a person as superusers see him."""
    return {
        "kind": "user",
        "name": account.username,
        "username": account.username,
        "email": account.email,
        "verified": account.verified,
        "avatar": account_avatar(account),
        "super_user": is_superuser,
        "enabled": account.enabled,
    }


def team_view(team: Team, *, can_view: bool) -> JsonObject:
    """Return a team as its organization shows it."""
    return {
        "name": team.name,
        "description": team.description,
        "role": team.role,
        "avatar": team_avatar(team.name),
        "can_view": can_view,
        "repo_count": team.repository_count,
        "member_count": team.member_count,
        "is_synced": team.is_synced,
    }


def team_member_view(account: Account) -> JsonObject:
    """Return a member of a team."""
    return {
        "name": account.username,
        "kind": "user",
        "is_robot": account.is_robot,
        "avatar": account_avatar(account),
        "invited": False,
    }


def app_token_view(token: AppToken, *, with_code: bool) -> JsonObject:
    """Return an application-specific token."""
    view = {
        "uuid": token.uuid,
        "title": token.title,
        "last_accessed": date_text(token.last_accessed),
        "created": date_text(token.created),
        "expiration": date_text(token.expiration),
    }
    return view | {"token_code": token.code} if with_code else view
