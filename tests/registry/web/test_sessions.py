"""What a browser is told to do with its session, and whom audit rows blame."""

import pytest
from starlette.requests import Request

from hatoba.registry.v2.messages import read_head
from hatoba.registry.web.identify import client_address

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("settings", "is_secure"),
    [
        ({"PREFERRED_URL_SCHEME": "https"}, True),
        ({"PREFERRED_URL_SCHEME": "http", "SESSION_COOKIE_SECURE": True}, True),
        ({"PREFERRED_URL_SCHEME": "http"}, False),
    ],
)
async def test_a_session_of_https_is_told_over_https_only(open_console, settings, is_secure):
    async with open_console(**settings) as console:
        cookie = (await console.client.get("/csrf_token")).headers["set-cookie"]
    assert ("; Secure" in cookie) == is_secure
    assert "; HttpOnly" in cookie
    assert "; SameSite=lax" in cookie


def scope_with(*forwarded: str):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"type": "http", "headers": headers, "client": ("10.0.0.9", 1), "query_string": b""}


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ((), "10.0.0.9"),
        (("192.0.2.7",), "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7",), "192.0.2.7"),
        (("198.51.100.1", "192.0.2.7"), "192.0.2.7"),
        (("nonsense",), "10.0.0.9"),
    ],
)
def test_a_caller_cannot_put_another_address_into_the_log(forwarded, address):
    scope = scope_with(*forwarded)
    assert client_address(Request(scope)) == address
    assert read_head(scope).client_ip == address
