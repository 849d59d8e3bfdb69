"""Who a Swift user is: a token and the account's address, from Swift itself or from Keystone.

Swift documentation, "Auth System" (version 1); Keystone documentation, "Identity API" v2.0 and v3.
A token is fetched once for all calls of a process, and anew when the storage refuses it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiohttp
from typing_extensions import override

from hatoba.config.schema.swift import OsOptions, SwiftLocation
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.exchange import Credentials, Question, Reply, ask_once, refusal

OBJECT_STORE: Final = "object-store"
_OPERATION: Final = "authenticate"
_MEANINGS: Final = {
    401: "401 (swift_user or swift_password is wrong)",
    403: "403 (swift_user may not enter)",
    404: "404 (auth_url is not the address of an authentication)",
    405: "405 (auth_url does not speak this auth_version)",
}
_DEFAULT_DOMAIN: Final = {"id": "default"}
"""Keystone's own name of the domain that everybody is in who names none."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Account:
    """Where the account is, and what lets us in."""

    url: str
    token: str = field(repr=False)


class SwiftUser(Credentials):
    """Fetches a token and shows it."""

    def __init__(self, location: SwiftLocation, *, session: aiohttp.ClientSession) -> None:
        self._location = location
        self._session = session
        self._account: Account | None = None

    @override
    async def signed(self, question: Question) -> Question:
        account = await self.account()
        headers = {**question.headers, "X-Auth-Token": account.token}
        return replace(question, url=account.url + question.url, headers=headers)

    @override
    def renews(self) -> bool:
        self._account = None
        return True

    async def account(self) -> Account:
        """Return the account, asking once for a token where there is none.

        Raises:
            StorageInterrupted: nobody answers.
            StorageUnavailable: the user is not let in.
        """
        # Whoever comes meanwhile asks, too: a token more is cheaper than everybody behind one call.
        if self._account is not None:
            return self._account
        found = await self._enter()
        url = (self._location.scope.object_storage_url or found.url).rstrip("/")
        if not url or not found.token:
            raise StorageUnavailable("the authentication names no object storage for swift_user")
        self._account = Account(url=url, token=found.token)
        return self._account

    async def _enter(self) -> Account:
        location = self._location
        match location.auth_version:
            case 1:
                headers = {"X-Auth-User": location.user, "X-Auth-Key": location.password}
                reply = await self._ask(
                    Question(
                        operation=_OPERATION, method="GET", url=location.auth_url, headers=headers
                    )
                )
                return Account(
                    url=reply.headers.get("X-Storage-Url", ""),
                    token=reply.headers.get("X-Auth-Token", ""),
                )
            case 2:
                return _entered_v2(await self._post("/v2.0", "/tokens", _v2(location)), location)
            case _:
                reply = await self._post("/v3", "/auth/tokens", _v3(location))
                return _entered_v3(reply, location)

    async def _post(self, version: str, path: str, content: Mapping[str, Any]) -> Reply:
        base = self._location.auth_url
        base = base if base.endswith(version) else base + version
        return await self._ask(
            Question(
                operation=_OPERATION,
                method="POST",
                url=base + path,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                body=json.dumps(content).encode(),
            )
        )

    async def _ask(self, question: Question) -> Reply:
        return await ask_once(self._session, question, explain)


def explain(question: Question, reply: Reply) -> Exception:
    """Return the error of an authentication that failed."""
    if reply.status in _MEANINGS:
        return StorageUnavailable(
            f"the authentication of the object storage answers {_MEANINGS[reply.status]}"
        )
    return refusal(question, reply.status, str(reply.status))


def _v2(location: SwiftLocation) -> dict[str, Any]:
    user, tenant = _user_and_project(location)
    auth: dict[str, Any] = {
        "passwordCredentials": {"username": user, "password": location.password}
    }
    scope = location.scope
    if (identity := scope.tenant_id or scope.project_id) is not None:
        auth["tenantId"] = identity
    elif tenant is not None:
        auth["tenantName"] = tenant
    return {"auth": auth}


def _v3(location: SwiftLocation) -> dict[str, Any]:
    scope = location.scope
    name, project = _user_and_project(location)
    domain = _domain(scope.user_domain_id, scope.user_domain_name)
    user: dict[str, Any] = {"password": location.password}
    user |= {"id": scope.user_id} if scope.user_id else {"name": name, "domain": domain}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if (identity := scope.project_id or scope.tenant_id) is not None:
        auth["scope"] = {"project": {"id": identity}}
    elif project is not None:
        within = _domain(scope.project_domain_id, scope.project_domain_name)
        auth["scope"] = {"project": {"name": project, "domain": within}}
    return {"auth": auth}


def _user_and_project(location: SwiftLocation) -> tuple[str, str | None]:
    """Return the user's name and the project's, which may stand before it with a colon."""
    scope = location.scope
    project = scope.project_name or scope.tenant_name
    if project is None and ":" in location.user:
        project, _, user = location.user.partition(":")
        return user, project
    return location.user, project


def _domain(identity: str | None, name: str | None) -> dict[str, str]:
    if identity is not None:
        return {"id": identity}
    return _DEFAULT_DOMAIN if name is None else {"name": name}


def _entered_v2(reply: Reply, location: SwiftLocation) -> Account:
    access = _content(reply).get("access") or {}
    for service in access.get("serviceCatalog") or ():
        if service.get("type") == OBJECT_STORE:
            for found in _in_region(service.get("endpoints") or (), location.scope):
                url = str(found.get(location.scope.endpoint_type) or "")
                return Account(url=url, token=str(access["token"]["id"]))
    return _nowhere(str((access.get("token") or {}).get("id") or ""))


def _entered_v3(reply: Reply, location: SwiftLocation) -> Account:
    token = reply.headers.get("X-Subject-Token", "")
    interface = location.scope.endpoint_type.removesuffix("URL")
    for service in (_content(reply).get("token") or {}).get("catalog") or ():
        if service.get("type") == OBJECT_STORE:
            for found in _in_region(service.get("endpoints") or (), location.scope):
                if found.get("interface") == interface:
                    return Account(url=str(found.get("url") or ""), token=token)
    return _nowhere(token)


def _nowhere(token: str) -> Account:
    return Account(url="", token=token)


def _in_region(
    endpoints: Iterable[Mapping[str, Any]], scope: OsOptions
) -> Iterable[Mapping[str, Any]]:
    wanted = scope.region_name
    return (
        found
        for found in endpoints
        if wanted is None or wanted in (found.get("region"), found.get("region_id"))
    )


def _content(reply: Reply) -> Mapping[str, Any]:
    try:
        content = json.loads(reply.body or b"{}")
    except ValueError as error:
        raise StorageUnavailable(
            "the authentication of the object storage answers with no JSON"
        ) from error
    return content if isinstance(content, dict) else {}
