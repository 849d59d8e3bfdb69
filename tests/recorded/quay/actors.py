"""Who sends a recorded exchange: sessions, tokens and passwords of the replay in place of theirs.

The recording names actors by labels (`oauth:alice:repo:read`, `session:bob`, `basic:testorg+ci`,
`v2:basic:alice:repository:x:pull`). Tokens of the authorize flow, which is not built, are issued
directly; everything else is had over HTTP, as the recorded client had it.
"""

import base64
import re
from dataclasses import dataclass, field

from hatoba.registry.access.scopes import FIRST_TOKEN_SCOPES

ALICE = "org:admin repo:admin repo:create repo:read repo:write user:admin user:read"
PLACEHOLDER = re.compile(r"<(.*)>")


@dataclass
class Actors:
    """Credentials that the replay has gathered so far."""

    passwords: dict = field(default_factory=dict)
    robots: dict = field(default_factory=dict)
    app_codes: list = field(default_factory=list)
    oauth: dict = field(default_factory=dict)
    registry: dict = field(default_factory=dict)
    cookies: dict = field(default_factory=dict)
    csrf: dict = field(default_factory=dict)
    encrypted: dict = field(default_factory=dict)

    async def headers(self, exchange, *, rooms, substitute):
        """Return the headers with which to repeat an exchange; None when an actor is unknown."""
        headers = {}
        for name, value in (exchange.get("request_headers") or {}).items():
            lowered = name.lower()
            if lowered == "cookie":
                cookie = self.cookies.get(exchange["actor"])
                if cookie:
                    headers[name] = cookie
            elif lowered == "x-csrf-token":
                headers[name] = self.csrf.get(exchange["actor"], "none")
            elif lowered == "authorization":
                authorization = await self._authorization(value, exchange, rooms, substitute)
                if authorization is None:
                    return None
                headers[name] = authorization
            else:
                headers[name] = substitute(value)
        return headers

    async def _authorization(self, value, exchange, rooms, substitute):
        scheme, _, rest = value.partition(" ")
        match = PLACEHOLDER.fullmatch(rest)
        if match is None:
            return substitute(value)
        label = match.group(1)
        if scheme.lower() == "basic":
            return self._basic(label, exchange)
        if label.startswith("oauth:"):
            token = await self._oauth(label, rooms)
            return None if token is None else f"{scheme} {token}"
        if label.startswith("v2:"):
            token = self.registry.get(label)
            return None if token is None else f"{scheme} {token}"
        return f"{scheme} {label}"

    def _basic(self, label, exchange):
        name = label.removeprefix("basic:")
        if ".err_" in exchange["step"] or "locked" in exchange["step"]:
            wrong = "" if exchange["step"].endswith("empty_pw") else "wrong-password"
            if not exchange["step"].endswith(("err_disabled",)):
                return _encode(name, wrong)
        if name.endswith(":encrypted"):
            user = name.removesuffix(":encrypted")
            return _encode(user, self.encrypted.get(user, "?"))
        if name.startswith("$oauthtoken"):
            scopes = name.removeprefix("$oauthtoken").lstrip(":")
            token = self.oauth.get(f"oauth:alice:{scopes or ALICE}")
            return _encode("$oauthtoken", token or "?")
        if name == "$app":
            return _encode("$app", self.app_codes[0] if self.app_codes else "?")
        if "+" in name:
            return _encode(name, self.robots.get(name, "?"))
        user = name.partition("@")[0]
        return _encode(name, self.passwords.get(user, "?"))

    async def _oauth(self, label, rooms):
        if label in self.oauth:
            return self.oauth[label]
        _, user, scopes = label.split(":", 2)
        account = await rooms.users.find(user)
        if account is None:
            return None
        wanted = FIRST_TOKEN_SCOPES if scopes == "all" else scopes
        token = await issue(rooms, account, wanted)
        self.oauth[label] = token
        return token

    def learn(self, exchange, response, body):
        """Remember what an answer gives away."""
        actor = exchange["actor"]
        cookie = response.cookies.get("_csrf_token")
        if cookie:
            self.cookies[actor] = f"_csrf_token={cookie}"
        following = response.headers.get("x-next-csrf-token")
        if following:
            self.csrf[actor] = following
        if isinstance(body, dict):
            if "csrf_token" in body:
                self.csrf[actor] = body["csrf_token"]
            self._learn_body(exchange, body)

    def _learn_body(self, exchange, body):
        sent = exchange.get("request_body")
        sent = sent if isinstance(sent, dict) else {}
        if "access_token" in body:
            self.oauth["oauth:quayadmin:all"] = body["access_token"]
        if "encrypted_password" in body and "username" in body:
            self.encrypted[body["username"]] = body["encrypted_password"]
        if exchange["path"].endswith("/user/clientkey") and "key" in body:
            self.encrypted[exchange["actor"].partition(":")[2]] = body["key"]
        password = body.get("password") or sent.get("password")
        if password and "username" in body:
            self.passwords[body["username"]] = password
        if "token" in body and "+" in str(body.get("name", "")):
            self.robots[body["name"]] = body["token"]
        if isinstance(body.get("token"), dict) and "token_code" in body["token"]:
            self.app_codes.append(body["token"]["token_code"])


def _encode(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def issue(rooms, account, scopes):
    """Issue a token as the authorize flow would."""
    applications = rooms.applications
    async with applications.database.begin() as connection:
        application_id = await applications._insert(
            connection, owner_id=account.id, client_id="replay" + scopes[:10], values={"name": "r"}
        )
        return await applications.issue_token(
            connection, application_id=application_id, account=account, scopes=scopes
        )
