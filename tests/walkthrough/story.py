"""The registry that the tests of this folder share, and what they know of it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.walkthrough.embedded import NAMESPACE, REGISTRY, Home, curl

USER, PASSWORD = "quayadmin", "quaypass123"
BUNDLE = """\
FEATURE_USER_INITIALIZE: true
BROWSER_API_CALLS_XHR_ONLY: false
SUPER_USERS:
- quayadmin
FEATURE_USER_CREATION: false
"""
QUAYREGISTRY = f"""\
apiVersion: quay.redhat.com/v1
kind: QuayRegistry
metadata:
  name: {REGISTRY}
  namespace: {NAMESPACE}
spec:
  configBundleSecret: init-config-bundle-secret
"""


@dataclass
class Story:
    """What one test leaves for the next."""

    home: Home
    directory: Path
    states: list[dict] = field(default_factory=list)
    pod_states: list[dict] = field(default_factory=list)
    endpoint: str = ""
    token: str = ""
    encrypted_password: str = ""

    @property
    def host(self) -> str:
        return self.endpoint.removeprefix("https://")

    def api(self, path: str, **options):
        return curl(self.home, f"{self.endpoint}{path}", token=self.token, **options)

    def ensure(self) -> None:
        """Bring the walkthrough to its end where its own tests have not done so."""
        if self.token:
            return
        home = self.home
        home.kubectl("create", "namespace", NAMESPACE)
        (self.directory / "config.yaml").write_text(BUNDLE)
        (self.directory / "quayregistry.yaml").write_text(QUAYREGISTRY)
        home.shell(
            "kubectl create secret generic --from-file config.yaml=./config.yaml "
            f"init-config-bundle-secret -n {NAMESPACE}",
            cwd=self.directory,
        )
        home.shell("kubectl create -f quayregistry.yaml", cwd=self.directory)
        self.endpoint = home.available()["status"]["registryEndpoint"]
        data = {
            "username": USER, "password": PASSWORD,
            "email": "quayadmin@example.com", "access_token": True,
        }  # fmt: skip
        status, body = self.api("/api/v1/user/initialize", data=data)
        assert status == 200, body
        self.token, self.encrypted_password = body["access_token"], body["encrypted_password"]
        status, body = self.api("/api/v1/organization/", data={"name": "testorg"})
        assert status == 201, body

    def copy(self, source: str, target: str, *, credentials: str = f"{USER}:{PASSWORD}") -> str:
        """Push an OCI layout's image with skopeo."""
        return self.home.shell(
            f"skopeo copy --all --dest-tls-verify=false --dest-creds '{credentials}' "
            f"{source} docker://{self.host}/{target}"
        )

    def manifest(self, reference: str) -> dict:
        """Read a manifest with skopeo."""
        return json.loads(
            self.home.shell(
                f"skopeo inspect --raw --tls-verify=false --creds {USER}:{PASSWORD} "
                f"docker://{self.host}/{reference}"
            )
        )
