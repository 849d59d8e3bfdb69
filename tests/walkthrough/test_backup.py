"""A backup of a registry with real pods, restored into an empty namespace: everything is there.

One vault is a claim, the other one a bucket of a server that speaks S3. What is pulled is compared byte for byte, and every kind of credential that was made before the
backup is used after it.
"""

import json

import pytest
from tests.object_storage import ACCESS_KEY, SECRET_KEY
from tests.walkthrough.embedded import Home, curl, need
from tests.walkthrough.images import Layout, random_files

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
USER, PASSWORD = "quayadmin", "quaypass123"
NAME = "example-registry"
BUNDLE = """\
FEATURE_USER_INITIALIZE: true
BROWSER_API_CALLS_XHR_ONLY: false
SUPER_USERS:
- quayadmin
REGISTRY_TITLE: Kept
"""
UNMANAGED = ("clair", "horizontalpodautoscaler", "mirror", "monitoring")
VAULT = {"claimName": "backups", "path": "of/example", "keySecret": "vault-key"}


def apply(home: Home, *objects: dict) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    home.shell(f"kubectl create -f - <<'EOF'\n{text}\nEOF")


def an_object(kind: str, name: str, namespace: str, api="quay.redhat.com/v1", **content) -> dict:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def a_claim(namespace: str) -> dict:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return an_object("PersistentVolumeClaim", "backups", namespace, "v1", spec=spec)


def complete(home: Home, resource: str, namespace: str, name: str = "one") -> dict:
    """Wait until a backup or restoration is complete; fail with what it says."""

    def status():
        found = home.get(resource, name, namespace=namespace).get("status", {})
        said = {one["type"]: one for one in found.get("conditions", [])}
        told = said.get("Complete", {})
        assert told.get("status") != "False", told
        return found if told.get("status") == "True" else None

    return home.until(status, what=f"{resource} complete", timeout=400)


class Made:
    """A registry, and what people know of it."""

    def __init__(self, home: Home, endpoint: str) -> None:
        self.home, self.endpoint = home, endpoint
        self.credentials: dict[str, tuple[str, str]] = {}
        self.token = ""

    def api(self, path: str, **options):
        return curl(self.home, f"{self.endpoint}/api/v1{path}", **options)

    def fill(self, sources: dict[str, str]) -> None:
        data = {
            "username": USER, "password": PASSWORD,
            "email": "quayadmin@example.com", "access_token": True,
        }  # fmt: skip
        status, body = self.api("/user/initialize", data=data)
        assert status == 200, body
        self.token = body["access_token"]
        assert self.api("/organization/", data={"name": "org"}, token=self.token)[0] == 201
        self.credentials["password"] = (USER, PASSWORD)
        self.credentials["encrypted"] = (USER, body["encrypted_password"])
        status, robot = self.api(
            "/organization/org/robots/ci", data={}, method="PUT", token=self.token
        )
        assert status == 201, robot
        self.credentials["robot"] = (robot["name"], robot["token"])
        status, made = self.api("/user/apptoken", data={"title": "laptop"}, token=self.token)
        assert status == 200, made
        self.credentials["app token"] = ("$app", made["token"]["token_code"])
        self.credentials["oauth"] = ("$oauthtoken", self.token)
        for tag, source in sources.items():
            self.home.shell(
                f"skopeo copy --all --dest-tls-verify=false --dest-creds {USER}:{PASSWORD} "
                f"{source} docker://{self.host}/org/app:{tag}"
            )
        prototype = {"role": "read", "delegate": {"kind": "user", "name": robot["name"]}}
        path = "/repository/org/app/permissions/user/" + robot["name"]
        status, answer = self.api(path, data=prototype, method="PUT", token=self.token)
        assert status == 200, answer

    @property
    def host(self) -> str:
        return self.endpoint.removeprefix("https://")

    def pulled(self, directory, tag: str, user: str, password: str) -> dict[str, bytes]:
        """Pull everything of a tag as it is, and return the files."""
        target = directory / f"pulled-{len(list(directory.iterdir()))}"
        self.home.shell(
            f"skopeo copy --all --preserve-digests --src-tls-verify=false "
            f"--src-creds '{user}:{password}' docker://{self.host}/org/app:{tag} dir:{target}"
        )
        return {
            str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()
        }


@pytest.fixture(scope="module")
def namespaces(home):
    need("skopeo")
    names = ("backup-old", "backup-new", "backup-bucket")
    for name in names:
        home.kubectl("create", "namespace", name)
    yield names
    for name in names:
        home.kubectl("delete", "namespace", name, "--timeout=150s", timeout=170)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    layout = Layout(tmp_path_factory.mktemp("images") / "layout")
    one = layout.image([random_files(1), random_files(2)])
    two = layout.image([random_files(1), random_files(3)], architecture="arm64")
    both = layout.index({"amd64": one, "arm64": two})
    return {"v1": layout.tag("v1", one), "multi": layout.tag("multi", both)}


@pytest.fixture(scope="module")
def old(home, namespaces, sources) -> Made:
    namespace, *_ = namespaces
    components = [{"kind": kind, "managed": False} for kind in UNMANAGED]
    spec = {"configBundleSecret": "bundle", "components": components}
    apply(
        home,
        an_object("Secret", "bundle", namespace, "v1", stringData={"config.yaml": BUNDLE}),
        an_object("QuayRegistry", NAME, namespace, spec=spec),
    )
    registry = home.available(namespace=namespace, name=NAME)
    made = Made(home, registry["status"]["registryEndpoint"])
    made.fill(sources)
    return made


@pytest.fixture(scope="module")
def key(home) -> str:
    return home.hatoba("backup", "key").strip()


@pytest.fixture(scope="module")
def backup(home, old, namespaces, key) -> dict:
    namespace, *_ = namespaces
    spec = {"registryName": NAME, "vault": VAULT, "keep": 2}
    apply(
        home,
        a_claim(namespace),
        an_object("Secret", "vault-key", namespace, "v1", stringData={"key": key}),
        an_object("QuayRegistryBackup", "one", namespace, spec=spec),
    )
    return complete(home, "quayregistrybackup", namespace)


@pytest.fixture(scope="module")
def bucket(object_storage) -> dict:
    """A vault in a bucket, which the pods reach as this machine does."""
    target = {
        "bucket": object_storage.new_bucket(),
        "endpoint": object_storage.url,
        "credentialsSecret": "vault-credentials",
    }
    return {"s3": target, "path": "of/example", "keySecret": "vault-key"}


def a_way_in(namespace: str) -> dict:
    data = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    return an_object("Secret", "vault-credentials", namespace, "v1", stringData=data)


@pytest.fixture(scope="module")
def backup_in_bucket(home, old, backup, namespaces, bucket) -> dict:
    """The same registry in the other vault, after the first backup has brought the key."""
    namespace, *_ = namespaces
    apply(
        home,
        a_way_in(namespace),
        an_object(
            "QuayRegistryBackup", "two", namespace, spec={"registryName": NAME, "vault": bucket}
        ),
    )
    return complete(home, "quayregistrybackup", namespace, "two")


@pytest.fixture(scope="module")
def expected(old, backup_in_bucket, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    directory = tmp_path_factory.mktemp("expected")
    return {tag: old.pulled(directory, tag, USER, PASSWORD) for tag in ("v1", "multi")}


def serves_everything(new: Made, old: Made, expected, directory) -> None:
    for tag, files in expected.items():
        assert new.pulled(directory, tag, USER, PASSWORD) == files
    for kind, (user, password) in old.credentials.items():
        assert new.pulled(directory, "v1", user, password) == expected["v1"], kind
    code, user = new.api("/user/", token=old.token)
    assert (code, user["username"]) == (200, USER)
    code, config = curl(new.home, f"{new.endpoint}/config")
    assert config["config"]["REGISTRY_TITLE"] == "Kept"


def volume(home: Home, namespace: str) -> str:
    """Where the claim's files lie, as whoever looks after the storage knows."""
    claim = home.get("pvc", "backups", namespace=namespace)
    path = "jsonpath={.spec.hostPath.path}"
    return home.kubectl("get", "pv", claim["spec"]["volumeName"], "-o", path)


def test_a_backup_says_what_it_holds(backup):
    last = backup["lastBackup"]
    assert last["missingBlobs"] == 0
    assert last["blobs"] == 5, "two images with a shared layer, and their configurations"
    assert last["databaseBytes"] > 0
    assert last["copiedBytes"] == last["blobBytes"] > 600_000


def test_a_restored_registry_serves_every_byte_to_every_credential(
    home, old, backup, expected, namespaces, key, tmp_path
):
    before, after, _ = namespaces
    apply(
        home,
        a_claim(after),
        an_object("Secret", "vault-key", after, "v1", stringData={"key": key}),
    )
    home.until(
        lambda: home.get("pvc", "backups", namespace=after)["status"].get("phase") == "Bound",
        what="claim bound",
    )
    home.shell(
        f"mkdir -p {volume(home, after)} && cp -a {volume(home, before)}/. {volume(home, after)}/"
    )
    # Nothing of the old one may be needed, or answer in the place of the new one.
    home.kubectl("delete", "quayregistry", NAME, "-n", before, "--timeout=150s", timeout=170)
    apply(
        home,
        an_object("QuayRegistryRestore", "one", after, spec={"registryName": NAME, "vault": VAULT}),
    )
    status = complete(home, "quayregistryrestore", after)
    assert status["backup"] == backup["lastBackup"]["id"]
    registry = home.available(namespace=after, name=NAME)
    new = Made(home, registry["status"]["registryEndpoint"])
    serves_everything(new, old, expected, tmp_path)
    home.kubectl("delete", "quayregistry", NAME, "-n", after, "--timeout=150s", timeout=170)


def test_what_a_bucket_holds_is_restored_as_well(
    home, old, backup_in_bucket, expected, namespaces, bucket, key, tmp_path
):
    assert backup_in_bucket["lastBackup"]["copiedBytes"] > 600_000
    before, _, after = namespaces
    home.kubectl(
        "delete", "quayregistry", NAME, "-n", before, "--ignore-not-found", "--timeout=150s",
        timeout=170,
    )  # fmt: skip
    apply(
        home,
        a_way_in(after),
        an_object("Secret", "vault-key", after, "v1", stringData={"key": key}),
        an_object(
            "QuayRegistryRestore", "one", after, spec={"registryName": NAME, "vault": bucket}
        ),
    )
    status = complete(home, "quayregistryrestore", after)
    assert status["backup"] == backup_in_bucket["lastBackup"]["id"]
    registry = home.available(namespace=after, name=NAME)
    new = Made(home, registry["status"]["registryEndpoint"])
    serves_everything(new, old, expected, tmp_path)
