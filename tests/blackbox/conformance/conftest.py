"""The registries that the suite is run against: ours, and one of another make as its control.

The control proves that the suite asks for what the specification says, not for what we do. Where
that registry is known not to conform, CONTROL_FAILS says so, and the suite fails if it does.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest
from tests.blackbox.conformance.target import Target
from tests.blackbox.conftest import on_postgresql, standalone
from tests.ports import free_port

CONTROL = "docker-registry"
CONTROL_FAILS = (
    (r"test_end_2_should_answer_416", "announces five bytes and sends none"),
    (r"test_end_4b_may_take", "takes no blob with the POST"),
    (r"test_end_(5|6)_must_answer_416", "does not look at Content-Range"),
    (r"test_end_13_after_416", "does not look at Content-Range"),
    (r"test_end_5_must_refuse", "does not look at Content-Range"),
    (r"test_end_(6|7)_sha512|_a_subject_by_sha512", "knows blobs by sha256 alone"),
    (r"test_end_7_must_refuse_what_is_no_manifest.*-(null|{})\]", "answers 500"),
    (r"test_end_7_should_answer_413", "answers 400"),
    (r"test_end_7_data_that_is_not", "does not look at embedded data"),
    (r"test_end_7_must_tell_the_subject", "has no referrers"),
    (
        r"test_end_8a_must_answer_200|test_end_8b_(?!a_very|must_give_no_link)",
        "has no pages of tags",
    ),
    (r"test_end_9_must_answer_202_for_a_tag", "deletes by digest alone"),
    (r"test_end_9_must_answer_404_for_what", "deletes by digest alone"),
    (r"test_end_11_without_from_may", "wants to know the source"),
    (r"test_end_12", "has no referrers"),
)


def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("target") != CONTROL:
            continue
        for pattern, reason in CONTROL_FAILS:
            if re.match(pattern, item.name):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def ours(registry) -> Target:
    def headers_for(*names):
        first, *others = names
        scopes = [f"repository:{first}:pull,push", *(f"repository:{one}:pull" for one in others)]
        return registry.bearer(*scopes)

    return Target(port=registry.port, headers_for=headers_for, prefix="admin/")


@contextmanager
def control(directory):
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    (directory / "config.yml").write_text(f"""\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}", relativeurls: true}}
validation: {{manifests: {{urls: {{allow: ["^https?://"]}}}}}}
""")
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "serve", str(directory / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        _wait(port, process)
        yield Target(port=port, headers_for=lambda *_names: {}, prefix="admin/")
    finally:
        process.kill()
        process.wait(10)


def _wait(port, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("docker-registry did not start")


@pytest.fixture(
    scope="module",
    params=[
        "standalone",
        pytest.param("postgresql", marks=pytest.mark.postgres),
        pytest.param(CONTROL, marks=pytest.mark.clients),
    ],
)
def target(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("registry")
    if request.param == "standalone":
        with standalone(directory) as running:
            yield ours(running)
    elif request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        with server.database() as url, on_postgresql(directory, url) as running:
            yield ours(running)
    else:
        with control(directory) as running:
            yield running


def name_of(request) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:80].strip("-")


@pytest.fixture
def repository(target, request):
    """A repository of the test's own, which exists."""
    made = target.repository(name_of(request))
    made.push_blob(b"makes the repository")
    return made


@pytest.fixture
def other(target, request):
    """A second repository, which may be pushed to, and which may read the first."""
    return target.repository(f"{name_of(request)}-2", name_of(request))
