"""skopeo against a running registry: push, pull, copy, delete, and who may."""

import json

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def blobs_of(path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (path / "blobs/sha256").iterdir()}


def test_an_image_comes_back_byte_for_byte(skopeo, layout, tmp_path) -> None:
    source = layout.name(layout.add_image(seed=1, layers=5), "one")
    skopeo.push(source, "admin/image:v1")
    skopeo.pull("admin/image:v1", f"oci:{tmp_path}/back:one")
    assert blobs_of(tmp_path / "back") == blobs_of(layout.path)


def test_a_multi_architecture_index_is_kept_whole(skopeo, layout, tmp_path) -> None:
    children = [
        layout.add_image(seed=2, architecture="amd64"),
        layout.add_image(seed=3, architecture="arm64"),
    ]
    source = layout.name(layout.add_index(children), "multi")
    skopeo.push(source, "admin/multi:v1")
    skopeo.pull("admin/multi:v1", f"oci:{tmp_path}/back:multi")
    assert blobs_of(tmp_path / "back") == blobs_of(layout.path)


def test_pull_by_digest(skopeo, layout, tmp_path) -> None:
    source = layout.name(layout.add_image(seed=4), "one")
    skopeo.push(source, "admin/by-digest:v1")
    digest = layout.digest_of("one")
    skopeo.pull(f"admin/by-digest@{digest}", f"oci:{tmp_path}/back:one")
    assert blobs_of(tmp_path / "back") == blobs_of(layout.path)


def test_docker_schema_2(skopeo, layout, tmp_path) -> None:
    source = layout.name(layout.add_image(seed=5), "one")
    skopeo.push(source, "admin/docker:v1", options=["--format=v2s2"])
    skopeo.pull("admin/docker:v1", f"dir:{tmp_path}/back")
    manifest = json.loads((tmp_path / "back/manifest.json").read_text())
    assert manifest["mediaType"].startswith("application/vnd.docker.distribution.manifest.v2")


def test_a_moved_tag_is_served_new_at_once(skopeo, layout) -> None:
    for seed in (6, 7, 8):
        skopeo.push(layout.name(layout.add_image(seed=seed, layers=1), f"s{seed}"), "admin/moved:v")
        assert json.loads(skopeo.inspect("admin/moved:v"))["Digest"] == layout.digest_of(f"s{seed}")


def test_a_deleted_image_is_gone(skopeo, layout, registry) -> None:
    skopeo.push(layout.name(layout.add_image(seed=9, layers=1), "one"), "admin/deleted:v1")
    skopeo.delete("admin/deleted:v1")
    assert "deleted or has expired" in skopeo.inspect("admin/deleted:v1", fails=True)
    headers = registry.bearer("repository:admin/deleted:pull")
    tags = registry.call("GET", "/v2/admin/deleted/tags/list", headers=headers)
    assert tags.json == {"name": "admin/deleted", "tags": []}


def test_copying_between_repositories_mounts_blobs(skopeo, layout, registry) -> None:
    skopeo.push(layout.name(layout.add_image(seed=10), "one"), "admin/origin:v1")
    skopeo.run(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"--src-creds={skopeo.credentials('admin')}",
        f"--dest-creds={skopeo.credentials('admin')}",
        skopeo.remote("admin/origin:v1"),
        skopeo.remote("admin/copy:v1"),
    )
    assert json.loads(skopeo.inspect("admin/copy:v1"))["Digest"] == layout.digest_of("one")


@pytest.fixture
def robots(registry):
    """The robot `acme+writer` may push to acme/app, `acme+reader` may pull from it."""
    if "acme+writer" in registry.users:
        return
    assert registry.api("POST", "/organization/", name="acme").status == 201
    created = registry.api(
        "POST",
        "/repository",
        namespace="acme",
        repository="app",
        visibility="private",
        description="",
        repo_kind="image",
    )
    assert created.status == 201, created.body
    for name, role in (("writer", "write"), ("reader", "read")):
        robot = registry.api("PUT", f"/organization/acme/robots/{name}", description="")
        assert robot.status == 201, robot.body
        registry.users[f"acme+{name}"] = robot.json["token"]
        path = f"/repository/acme/app/permissions/user/acme+{name}"
        granted = registry.api("PUT", path, role=role)
        assert granted.status == 200, granted.body


def test_a_robot_that_may_push_pushes(skopeo, layout, robots) -> None:
    source = layout.name(layout.add_image(seed=11, layers=1), "one")
    skopeo.push(source, "acme/app:v1", user="acme+writer")
    skopeo.inspect("acme/app:v1", user="acme+reader")


def test_a_robot_that_may_not_push_does_not(skopeo, layout, robots, registry) -> None:
    source = layout.name(layout.add_image(seed=12, layers=1), "one")
    complaint = skopeo.push(source, "acme/app:refused", user="acme+reader", fails=True)
    assert "not authorized" in complaint or "unauthorized" in complaint
    headers = registry.bearer("repository:acme/app:pull")
    tags = registry.call("GET", "/v2/acme/app/tags/list", headers=headers).json["tags"]
    assert "refused" not in tags


def test_a_wrong_password_is_refused(skopeo, layout, registry) -> None:
    registry.users["nobody"] = "wrong-password"
    source = layout.name(layout.add_image(seed=13, layers=1), "one")
    complaint = skopeo.push(source, "admin/image:v2", user="nobody", fails=True)
    assert "Invalid Username or Password" in complaint
