"""The walkthrough: the document's own commands, in its order, with its outputs.

The tests of this file tell one story and run in order: each one starts where the last one ended.
"""

import base64
import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY, need
from tests.walkthrough.images import Layout, random_files
from tests.walkthrough.story import BUNDLE, QUAYREGISTRY
from tests.walkthrough.watching import Recorder, conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

COMPONENTS = [
    "postgres", "clair", "redis", "horizontalpodautoscaler", "objectstorage",
    "route", "mirror", "monitoring", "tls",
]  # fmt: skip
PODS = {
    "clair-app": (2, "Running", "1/1"),
    "clair-postgres": (1, "Running", "1/1"),
    "quay-app": (2, "Running", "1/1"),
    "quay-app-upgrade": (1, "Completed", "0/1"),
    "quay-config-editor": (1, "Running", "1/1"),
    "quay-database": (1, "Running", "1/1"),
    "quay-mirror": (2, "Running", "1/1"),
    "quay-postgres-init": (1, "Completed", "0/1"),
    "quay-redis": (1, "Running", "1/1"),
}


def test_the_documents_commands_create_the_registry(story):
    home, here = story.home, story.directory
    (here / "config.yaml").write_text(BUNDLE)
    (here / "quayregistry.yaml").write_text(QUAYREGISTRY)
    assert "created" in home.shell(f"kubectl create namespace {NAMESPACE}")
    home.shell(
        "kubectl create secret generic --from-file config.yaml=./config.yaml "
        f"init-config-bundle-secret -n {NAMESPACE}",
        cwd=here,
    )
    watch = Recorder(home, "quayregistry", "-n", NAMESPACE)
    pods = Recorder(home, "pods", "-n", NAMESPACE)
    assert "created" in home.shell("kubectl create -f quayregistry.yaml", cwd=here)
    home.available()
    story.states, story.pod_states = watch.stop(), pods.stop()
    story.endpoint = home.shell(
        f"kubectl get quayregistry -n {NAMESPACE} {REGISTRY} "
        '-o jsonpath="{.status.registryEndpoint}"'
    )
    assert story.endpoint.startswith("https://")


def test_the_operator_fills_the_spec_in(story):
    spec = story.states[-1]["spec"]
    assert [component["kind"] for component in spec["components"]] == COMPONENTS
    assert all(component["managed"] is True for component in spec["components"])
    assert spec["configBundleSecret"] == "init-config-bundle-secret"


def test_the_filled_in_spec_alone_is_seen_first(story):
    first = next(state for state in story.states if state["spec"].get("components"))
    assert conditions(first) == {}


def test_the_status_tells_of_the_migration_while_it_runs(story):
    migrating = [
        state
        for state in story.states
        if conditions(state).get("Available", {}).get("reason") == "MigrationsInProgress"
    ]
    assert migrating, [state.get("status") for state in story.states]
    status = migrating[0]["status"]
    shown = [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"][:2]]
    assert shown == [
        (
            "RolloutBlocked", "False", "ComponentsCreationSuccess",
            "all objects created/updated successfully",
        ),
        ("Available", "False", "MigrationsInProgress", "running database migrations"),
    ]  # fmt: skip
    assert status["configEditorEndpoint"].startswith("https://")
    assert status["configEditorCredentialsSecret"].startswith(
        f"{REGISTRY}-quay-config-editor-credentials-"
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})? \+0000 UTC", status["lastUpdated"]
    )
    assert "currentVersion" not in status
    assert "registryEndpoint" not in status


def test_unhealthy_components_are_named_while_they_are(story):
    unhealthy = [
        entry
        for state in story.states
        for entry in state.get("status", {}).get("unhealthyComponents", {}).get("clair", [])
    ]
    assert {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": f"Deployment {REGISTRY}-clair-postgres: "
        "Deployment does not have minimum availability.",
    }.items() <= next(e for e in unhealthy if "clair-postgres" in e["message"]).items()
    keys = {"type", "status", "reason", "message", "lastTransitionTime", "lastUpdateTime"}
    assert all(set(entry) == keys for entry in unhealthy)


def test_quay_waits_for_the_migration(story):
    def phase(state, family):
        name = state["metadata"]["name"]
        return re.fullmatch(rf"{REGISTRY}-{family}-[a-z0-9]+(-[a-z0-9]+)?", name)

    migrated = next(
        index
        for index, state in enumerate(story.pod_states)
        if "quay-app-upgrade" in state["metadata"]["name"]
        and state["status"].get("phase") == "Succeeded"
    )
    serving = [
        index
        for index, state in enumerate(story.pod_states)
        if phase(state, "quay-app") and "upgrade" not in state["metadata"]["name"]
    ]
    assert serving
    assert min(serving) > migrated


def test_the_final_status_tells_that_all_is_well(story):
    registry = story.home.get("quayregistry", REGISTRY)
    status = registry["status"]
    assert [c["type"] for c in status["conditions"][:2]] == ["Available", "RolloutBlocked"]
    available, blocked = status["conditions"][:2]
    assert (available["status"], available["reason"], available["message"]) == (
        "True", "HealthChecksPassing", "all registry component healthchecks passing",
    )  # fmt: skip
    assert (blocked["status"], blocked["reason"]) == ("False", "ComponentsCreationSuccess")
    assert status["currentVersion"] == "3.6.0"
    assert status["unhealthyComponents"] == {}
    assert status["registryEndpoint"] == story.endpoint


def test_twelve_pods_are_shown(story):
    def rows():
        table = story.home.shell(f"kubectl get pods -n {NAMESPACE}").splitlines()
        assert table[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        return [line.split() for line in table[1:]]

    shown = story.home.until(lambda: len(r := rows()) == 12 and r, what="twelve pods", timeout=60)
    for family, (count, status, ready) in PODS.items():
        pattern = re.compile(rf"{REGISTRY}-{family}-[a-z0-9]+(-[a-z0-9]{{5}})?")
        mine = [
            row
            for row in shown
            if pattern.fullmatch(row[0])
            and not (family == "quay-app" and row[0].startswith(f"{REGISTRY}-quay-app-upgrade"))
        ]
        assert [(row[2], row[1]) for row in mine] == [(status, ready)] * count, family


def test_the_autoscalers_show_measured_percentages(story):
    def rows():
        table = story.home.shell(f"kubectl get hpa -n {NAMESPACE}").splitlines()
        assert re.split(r"\s{2,}", table[0].strip()) == [
            "NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE",
        ]  # fmt: skip
        rows = {row[0]: row[1:] for row in (re.split(r"\s{2,}", line) for line in table[1:])}
        return rows if all("<unknown>" not in row[1] for row in rows.values()) else None

    shown = story.home.until(rows, what="measurements", timeout=90)
    assert {name: (row[0], *row[2:5]) for name, row in shown.items()} == {
        f"{REGISTRY}-{name}": (f"Deployment/{REGISTRY}-{name}", "2", maximum, "2")
        for name, maximum in (("clair-app", "10"), ("quay-app", "20"), ("quay-mirror", "20"))
    }
    for row in shown.values():
        assert len(re.findall(r"\d+%/90%", row[1])) == 2


def test_a_bad_password_for_the_first_user_is_refused(story):
    user = {"username": "quayadmin", "email": "quayadmin@example.com", "access_token": True}
    for password in ("pass123", "pass word 123"):
        status, body = story.api("/api/v1/user/initialize", data={**user, "password": password})
        assert (status, body) == (
            400,
            {
                "message": "Failed to initialize user: Invalid password, password must be at "
                "least 8 characters and contain no whitespace."
            },
        )


def test_the_first_user_is_created_over_the_api(story):
    output = story.home.shell(
        f"curl -sS -X POST -k {story.endpoint}/api/v1/user/initialize "
        "--header 'Content-Type: application/json' --data "
        '\'{"username": "quayadmin", "password": "quaypass123", '
        '"email": "quayadmin@example.com", "access_token": true}\''
    )
    body = json.loads(output)
    assert sorted(body) == ["access_token", "email", "encrypted_password", "username"]
    assert re.fullmatch("[A-Z0-9]{40}", body["access_token"])
    assert base64.b64decode(body["encrypted_password"])
    assert (body["email"], body["username"]) == ("quayadmin@example.com", "quayadmin")
    story.token, story.encrypted_password = body["access_token"], body["encrypted_password"]


def test_a_second_first_user_is_refused(story):
    data = {"username": "quayuser2", "password": "quaypass123", "email": "quayuser2@example.com"}
    status, body = story.api("/api/v1/user/initialize", data=data)
    assert (status, body) == (400, {"message": "Cannot initialize user in a non-empty database"})


def test_the_superuser_lists_the_users(story):
    assert story.api("/api/v1/superuser/users/") == (
        200,
        {
            "users": [
                {
                    "kind": "user", "name": "quayadmin", "username": "quayadmin",
                    "email": "quayadmin@example.com", "verified": True,
                    "avatar": {
                        "name": "quayadmin",
                        "hash": "3e82e9cbf62d25dec0ed1b4c66ca7c5d47ab9f1f271958298dea856fb26adc4c",
                        "color": "#e7ba52", "kind": "user",
                    },
                    "super_user": True, "enabled": True,
                }
            ]
        },
    )  # fmt: skip


def test_an_organization_is_created_and_shown(story):
    data = {"name": "testorg", "email": "testorg@example.com"}
    created = story.home.shell(
        "curl -sS -X POST -k --header 'Content-Type: application/json' "
        f'-H "Authorization: Bearer {story.token}" {story.endpoint}/api/v1/organization/ '
        f"--data '{json.dumps(data)}'"
    )
    assert created.strip() == '"Created"'
    assert story.api("/api/v1/organization/testorg") == (
        200,
        {
            "name": "testorg", "email": "testorg@example.com",
            "avatar": {
                "name": "testorg",
                "hash": "5f113632ad532fc78215c9258a4fb60606d1fa386c91b141116a1317bf9c53c8",
                "color": "#a55194", "kind": "user",
            },
            "is_admin": True, "is_member": True,
            "teams": {
                "owners": {
                    "name": "owners", "description": "", "role": "admin",
                    "avatar": {
                        "name": "owners",
                        "hash": "6f0e3a8c0eb46e8834b43b03374ece43a030621d92a7437beb48f871e90f8d90",
                        "color": "#c7c7c7", "kind": "team",
                    },
                    "can_view": True, "repo_count": 0, "member_count": 1, "is_synced": False,
                }
            },
            "ordered_teams": ["owners"], "invoice_email": False, "invoice_email_address": None,
            "tag_expiration_s": 1209600, "is_free_account": True,
        },
    )  # fmt: skip


def test_a_multi_layer_image_and_an_index_survive_skopeo(story):
    need("skopeo")
    layout = Layout(story.directory / "image")
    layers = [random_files(seed) for seed in range(4)]
    image = layout.image(layers)
    arm = layout.image([random_files(99)], architecture="arm64")
    source = layout.tag("one", image)
    both = layout.tag("both", layout.index({"amd64": image, "arm64": arm}))
    target = f"docker://{story.host}/testorg/app"
    credentials = "quayadmin:quaypass123"
    copy = f"skopeo copy --all --dest-tls-verify=false --dest-creds {credentials}"
    story.home.shell(f"{copy} {source} {target}:one")
    story.home.shell(f"{copy} {both} {target}:both")
    for tag, descriptor in (("one", image), ("both", None)):
        back = story.directory / f"back-{tag}"
        story.home.shell(
            f"skopeo copy --all --src-tls-verify=false --src-creds {credentials} "
            f"{target}:{tag} dir:{back}"
        )
        if descriptor:
            kept = (story.directory / "image/blobs/sha256") / descriptor["digest"][7:]
            assert (back / "manifest.json").read_bytes() == kept.read_bytes()
    story.home.shell(
        f"skopeo inspect --tls-verify=false --creds {credentials} {target}@{image['digest']}"
    )


def test_podman_logs_in_pushes_and_pulls(story, request):
    need("podman")
    # podman refuses long paths for its run-time files.
    store = Path(tempfile.mkdtemp(prefix="podman-"))
    request.addfinalizer(lambda: shutil.rmtree(store, ignore_errors=True))
    podman = f"podman --root {store}/root --runroot {store}/run --storage-driver vfs"
    auth = f"--authfile {store}/auth.json --tls-verify=false"
    home = story.home
    home.shell(
        f"{podman} login {auth} -u quayadmin -p '{story.encrypted_password}' {story.host}",
        timeout=60,
    )
    image = f"{story.host}/testorg/app"
    home.shell(f"{podman} pull {auth} {image}:one")
    home.shell(f"{podman} tag {image}:one {image}:podman")
    home.shell(f"{podman} push {auth} {image}:podman")
    home.shell(f"{podman} rmi -a -f")
    assert home.shell(f"{podman} pull {auth} -q {image}:podman").strip()


def test_robots_push_only_where_they_may(story):
    need("skopeo")
    robots = {}
    for name in ("writer", "reader"):
        status, robot = story.api(
            f"/api/v1/organization/testorg/robots/{name}", method="PUT", data={}
        )
        assert status == 201, robot
        robots[name] = f"{robot['name']}:{robot['token']}"
    for name, role in (("writer", "write"), ("reader", "read")):
        status, body = story.api(
            f"/api/v1/repository/testorg/app/permissions/user/testorg+{name}",
            method="PUT", data={"role": role},
        )  # fmt: skip
        assert status == 200, body
    source = f"oci:{story.directory}/image:one"
    target = f"docker://{story.host}/testorg/app:robot"
    copy = "skopeo copy --dest-tls-verify=false --dest-creds"
    story.home.shell(f"{copy} '{robots['writer']}' {source} {target}")
    refused = story.home.shell(f"{copy} '{robots['reader']}' {source} {target}2", check=False)
    assert re.search("denied|unauthorized", refused, re.IGNORECASE)
    inspect = "skopeo inspect --tls-verify=false --creds"
    story.home.shell(f"{inspect} '{robots['reader']}' {target}")


def test_a_deleted_tag_is_gone(story):
    need("skopeo")
    status, _ = story.api("/api/v1/repository/testorg/app/tag/robot", method="DELETE")
    assert status == 204
    status, body = story.api("/api/v1/repository/testorg/app/tag/")
    assert status == 200
    assert "robot" not in {tag["name"] for tag in body["tags"] if "end_ts" not in tag}
    gone = story.home.shell(
        "skopeo inspect --tls-verify=false --creds quayadmin:quaypass123 "
        f"docker://{story.host}/testorg/app:robot",
        check=False,
    )
    assert "manifest unknown" in gone.lower() or "unknown" in gone.lower()
