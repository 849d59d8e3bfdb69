"""The page: what it shows, what it sends, whom it believes."""

import html
import re

import pytest
import yaml
from tests.editor.conftest import CONFIG, running_editor

pytestmark = pytest.mark.anyio


def values_of(page):
    """Return what a browser without scripts would submit."""
    values = {}
    for tag in re.findall(r"<input ([^>]*)>", page):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name and "disabled" not in tag:
            values[name[1]] = html.unescape(value[1])
    for attributes, content in re.findall(r"<textarea ([^>]*)>\n(.*?)</textarea>", page, re.DOTALL):
        if "disabled" not in attributes:
            values[re.search(r'name="([^"]*)"', attributes)[1]] = html.unescape(content)
    for attributes, options in re.findall(r"<select ([^>]*)>(.*?)</select>", page, re.DOTALL):
        if "disabled" not in attributes:
            chosen = re.search(r'value="([^"]*)" selected', options)
            values[re.search(r'name="([^"]*)"', attributes)[1]] = chosen[1] if chosen else ""
    return values


async def submit(editor, action, **changes):
    _, page = await editor.get()
    form = values_of(page) | changes | {"action": action}
    response, body = await editor.post("/", data=form)
    return response, body.decode("utf-8", "replace")


async def test_nobody_is_let_in_without_the_password(directory):
    async with running_editor(directory, signed_in=False) as editor:
        for path in ("/", "/api/v1/config", "/static/editor.css"):
            response, body = await editor.get(path)
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic ")
            assert "quay:" not in body
        wrong = {"Authorization": "Basic cXVheWNvbmZpZzp3cm9uZw=="}
        response, _ = await editor.get("/", headers=wrong)
        assert response.status == 401


async def test_values_are_shown_escaped_and_secrets_are_not_shown(editor):
    response, page = await editor.get()
    assert response.status == 200
    assert "Harbour &lt;b&gt;&amp;" in page
    for secret in ("hunter2", "swordfish", "key-of-sessions"):
        assert secret not in page
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_every_control_has_a_label(editor):
    _, page = await editor.get()
    controls = set(re.findall(r'id="(field-[A-Z0-9_]+)"', page))
    assert controls == set(re.findall(r'<label for="(field-[A-Z0-9_]+)"', page))
    assert len(controls) > 50


async def test_fields_of_managed_components_cannot_be_changed(editor, operator):
    _, page = await editor.get()
    assert not {"DB_URI", "SERVER_HOSTNAME", "USER_EVENTS_REDIS", "SECRET_KEY"} & set(
        values_of(page)
    )
    response, _ = await submit(editor, "save", DB_URI="postgresql://elsewhere/x")
    assert response.status == 303
    [(_, _, _, sent)] = operator.received
    assert "DB_URI" not in sent["config.yaml"]


async def test_an_unchanged_form_changes_nothing(editor, operator):
    response, _ = await submit(editor, "save")
    assert (response.status, response.headers["Location"]) == (303, "/?saved")
    [(_, _, _, sent)] = operator.received
    theirs = {"DB_URI", "USER_EVENTS_REDIS"}
    assert sent["config.yaml"] == {k: v for k, v in CONFIG.items() if k not in theirs}


async def test_a_change_reaches_the_operator_with_the_editors_credentials(editor, operator):
    await submit(
        editor,
        "save",
        REGISTRY_TITLE="New",
        SUPER_USERS="one\r\ntwo\r\n",
        FEATURE_USER_INITIALIZE="",
        V2_PAGINATION_SIZE="20",
        OTHER_KEYS="SOMETHING_ELSE: 2\nMORE: text",
    )
    [(method, path, headers, sent)] = operator.received
    assert (method, path) == ("POST", "/reconfigure")
    assert headers["authorization"] == "Basic cXVheWNvbmZpZzphIHBhc3N3b3Jk"
    assert (sent["namespace"], sent["quayRegistryName"]) == ("ns", "reg")
    assert sent["certs"] == {"extra_ca_certs/ours.crt": "UEVN"}
    config = sent["config.yaml"]
    assert config["REGISTRY_TITLE"] == "New"
    assert config["SUPER_USERS"] == ["one", "two"]
    assert "FEATURE_USER_INITIALIZE" not in config
    assert config["V2_PAGINATION_SIZE"] == 20
    assert (config["SOMETHING_ELSE"], config["MORE"]) == (2, "text")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("V2_PAGINATION_SIZE", "many", "must be a whole number"),
        ("V2_PAGINATION_SIZE", "0", "greater than or equal to 1"),
        ("MAXIMUM_LAYER_SIZE", "large", "must be a number and G or M"),
        ("TEAM_RESYNC_STALE_TIME", "soon", "must be a number and a unit"),
        ("OTHER_KEYS", "a: [", "is not YAML"),
        ("OTHER_KEYS", "REGISTRY_TITLE: x", "fields of their own"),
        ("OTHER_KEYS", "- a", "must be a mapping"),
    ],
)
async def test_faults_are_shown_at_their_field_and_nothing_is_sent(
    editor, operator, key, text, message
):
    response, page = await submit(editor, "save", **{key: text})
    assert response.status == 422
    assert message in html.unescape(re.search(rf'id="fault-{key}">(.*?)</p>', page)[1])
    assert f'href="#field-{key}"' in page
    assert html.unescape(values_of(page)[key]).strip() == text
    assert operator.received == []


async def test_checking_sends_nothing(editor, operator):
    response, page = await submit(editor, "check", REGISTRY_TITLE="Other")
    assert (response.status, operator.received) == (200, [])
    assert "The configuration is valid" in page
    assert values_of(page)["REGISTRY_TITLE"] == "Other"


async def test_a_foreign_form_is_refused(editor, operator):
    _, page = await editor.get()
    form = values_of(page) | {"action": "save"}
    editor.session.cookie_jar.clear()
    response, _ = await editor.post("/", data=form)
    assert response.status == 403
    await editor.get()
    response, _ = await editor.post("/", data=form | {"form_token": "0" * 64})
    assert (response.status, operator.received) == (403, [])


async def test_what_the_operator_refuses_is_told(editor, operator):
    operator.status, operator.answer = 400, b"SERVER_HOSTNAME <is wrong>"
    response, page = await submit(editor, "save", REGISTRY_TITLE="Kept")
    assert response.status == 502
    assert "SERVER_HOSTNAME &lt;is wrong&gt;" in page
    assert values_of(page)["REGISTRY_TITLE"] == "Kept"


async def test_an_operator_that_does_not_answer_is_told(directory):
    async with running_editor(directory, endpoint="http://127.0.0.1:1") as editor:
        response, body = await submit(editor, "save")
        assert (response.status, body) == (502, "the call failed: ClientConnectorError")


async def test_without_an_operator_the_bundle_is_downloaded(directory):
    async with running_editor(directory, groups=()) as editor:
        _, page = await editor.get()
        assert 'value="save"' not in page
        response, _ = await submit(editor, "download")
        assert response.headers["Content-Type"] == "application/gzip"
        response, _ = await submit(editor, "save")
        assert response.status == 501


async def test_an_unreadable_configuration_is_told(editor, directory):
    (directory / "config.yaml").write_text("a: [")
    response, page = await editor.get()
    assert response.status == 200
    assert "is not YAML" in page


async def test_a_saved_page_says_so(editor):
    _, page = await editor.get("/?saved")
    assert 'role="status"' in page


async def test_unread_keys_are_yaml_of_their_own(editor):
    _, page = await editor.get()
    assert yaml.safe_load(values_of(page)["OTHER_KEYS"]) == {"SOMETHING_ELSE": {"a": [1, 2]}}
