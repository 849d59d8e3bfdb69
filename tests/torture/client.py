"""A client that keeps the registry to its manners: whatever refuses must say so properly.

Each request is a connection of its own, so that the kernel spreads them over the workers.
"""

import http.client
import json
import time
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.torture.ledger import Ledger

CLEAN = frozenset({400, 401, 403, 404, 405, 409, 413, 415, 416, 429, 503})
WAITING = frozenset({429, 503})
"""Answers after which the same request may succeed later; they must say when to try."""


class Broken(Exception):
    """No answer came: the connection was refused, reset or closed half-way."""


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, answer: "Answer") -> None:
        super().__init__(f"{answer.status} {answer.body[:300]!r}")
        self.status = answer.status


@dataclass(kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_unknown(self) -> bool:
        """Whether the change that was asked for may have happened in spite of the answer."""
        return self.status >= 500


def flaws_of(method: str, answer: Answer) -> str | None:
    """Return what is wrong with the form of an answer, or None."""
    if answer.status < 400:
        return None
    if answer.status not in CLEAN:
        return "not a status that a fault may have"
    if answer.status in WAITING and not answer.headers.get("retry-after", "").isdigit():
        return "no Retry-After"
    if method == "HEAD" or answer.status == 416:
        return None
    try:
        error = json.loads(answer.body)["errors"][0]
        told = bool(error["code"]) and bool(error["message"])
    except (ValueError, LookupError, TypeError):
        told = False
    return None if told else "not the shape of an error"


@dataclass(kw_only=True)
class Client:
    """Speaks to one registry as one account, gets tokens as they run out."""

    port: int
    user: str
    password: str
    ledger: Ledger = field(default_factory=Ledger)
    service: str = ""
    """The name that tokens are made for."""
    timeout: float = 60.0
    host: str = "127.0.0.1"
    tokens: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, *, body=None, headers=None) -> Answer:
        """Send one request; any answer is returned, and judged in the ledger.

        Raises:
            Broken: there was none.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            content = response.read()
            lower = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(status=response.status, headers=lower, body=content)
        except (OSError, http.client.HTTPException) as error:
            self.ledger.count("connections broken")
            raise Broken(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        self.ledger.count(f"status {answer.status}")
        if flaw := flaws_of(method, answer):
            self.ledger.unclean.append(f"{method} {path}: {answer.status}, {flaw}: {answer.body!r}")
        return answer

    def call(self, method: str, repository: str, path: str, *, body=None, **headers) -> Answer:
        """Send one request of `/v2/<repository>`, with a token."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        full = f"/v2/{repository}{path}"
        bearer = {"Authorization": f"Bearer {self.token(repository)}"}
        answer = self.send(method, full, body=body, headers={**bearer, **named})
        if answer.status == 401:
            del self.tokens[repository]
            bearer = {"Authorization": f"Bearer {self.token(repository)}"}
            answer = self.send(method, full, body=body, headers={**bearer, **named})
        return answer

    def token(self, repository: str) -> str:
        """Return a registry token for pushing and pulling.

        Raises:
            Refused: none was given.
        """
        if repository not in self.tokens:
            scope = f"repository:{repository}:pull,push"
            query = urlencode({"service": self.service, "scope": scope})
            pair = b64encode(f"{self.user}:{self.password}".encode()).decode()
            answer = self.send(
                "GET", f"/v2/auth?{query}", headers={"Authorization": f"Basic {pair}"}
            )
            if answer.status != 200:
                raise Refused(answer)
            self.tokens[repository] = json.loads(answer.body)["token"]
        return self.tokens[repository]

    def get(self, repository: str, path: str, *, patience: float = 30.0) -> Answer:
        """GET, repeated while the registry does not answer or asks to come back later."""
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = self.call("GET", repository, path)
            except (Broken, Refused):
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status not in WAITING or time.monotonic() > deadline:
                    return answer
            time.sleep(0.1)
