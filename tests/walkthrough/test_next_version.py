"""From one version to the next in real pods, under pulls and pushes: no request fails.

The next version is this one with three more revisions (`tests.torture.next_version`), as an image
of its own. There is no way back, so this runs after all other tests of the cluster.
"""

import asyncio
import base64

import asyncpg
import pytest
import yaml
from tests.torture import next_version
from tests.walkthrough.embedded import REGISTRY, curl
from tests.walkthrough.story import PASSWORD, USER
from tests.walkthrough.traffic import Traffic
from tests.walkthrough.watching import conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
VERSION, IMAGE = "3.7.0", "hatoba-next:1"
HALF_WAY = (
    "SELECT count(*) FROM pg_stat_activity"
    f" WHERE state = 'active' AND query LIKE 'DO %{next_version.GATE}%'"
)


def database_address(home) -> dict[str, str]:
    """Return where the registry's database listens, and as whom the registry comes."""
    pods = [
        pod for pod in home.pods()
        if pod["metadata"]["labels"].get("quay-component") == "postgres"
        and pod["status"]["phase"] == "Running"
    ]  # fmt: skip
    (secret,) = [
        found for found in home.get("secrets")["items"]
        if found["metadata"]["name"] == config_secret(home)
    ]  # fmt: skip
    config = yaml.safe_load(base64.b64decode(secret["data"]["config.yaml"]))
    return {"dsn": config["DB_URI"], "host": pods[0]["status"]["podIP"]}


def config_secret(home) -> str:
    """Return the configuration that the registry's pods run with."""
    pod = home.get("deployment", f"{REGISTRY}-quay-app")["spec"]["template"]["spec"]
    names = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    names += [
        source["secret"]["name"]
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if "secret" in source
    ]
    (found,) = [name for name in names if name.startswith(f"{REGISTRY}-quay-config-secret")]
    return found


class Database:
    """The registry's database, as its administrator sees it."""

    def __init__(self, home) -> None:
        self.address = database_address(home)

    def ask(self, question: str):
        async def asked():
            connection = await asyncpg.connect(**self.address)
            try:
                return await connection.fetchval(question)
            finally:
                await connection.close()

        return asyncio.run(asked())


def app_pods(home) -> dict[str, dict]:
    return {
        pod["metadata"]["name"]: pod
        for pod in home.pods()
        if pod["metadata"]["labels"].get("quay-component") == "quay-app"
    }


def work_goes_on(home, traffic) -> None:
    pulls, pushes = traffic.pulls, traffic.pushes
    home.until(
        lambda: traffic.pulls > pulls + 6 and traffic.pushes > pushes + 3,
        what="pulls and pushes that go on", timeout=60,
    )  # fmt: skip
    assert traffic.failures == []


def of_the_next_version_only(home) -> bool:
    """Whether all that serve are ready and of the next version, and the others are gone."""
    pods = app_pods(home).values()
    return len(pods) >= 2 and all(
        pod["spec"]["containers"][0]["image"] == IMAGE
        and any(one["type"] == "Ready" and one["status"] == "True" for one in
                pod["status"].get("conditions", ()))
        for pod in pods
    )  # fmt: skip


def test_no_request_fails_from_one_version_to_the_next(registry):
    home, database = registry.home, Database(registry.home)
    database.ask(f"CREATE TABLE {next_version.GATE} (id integer)")
    with Traffic(registry, "testorg/upgraded", user=USER, password=PASSWORD) as traffic:
        work_goes_on(home, traffic)
        old = set(app_pods(home))
        home.kubectl(
            "set", "env", "deployment/quay-operator", "-n", "hatoba-system",
            f"QUAY_VERSION={VERSION}", f"RELATED_IMAGE_COMPONENT_QUAY={IMAGE}",
        )  # fmt: skip
        home.until(lambda: database.ask(HALF_WAY), what="a migration half-way", timeout=120)
        told = home.until(
            lambda: (
                (found := conditions(home.get("quayregistry", REGISTRY)))["ComponentsCreated"][
                    "reason"
                ]
                == "MigrationsInProgress"
                and found
            ),
            what="a status that tells of the migration", timeout=60,
        )  # fmt: skip
        assert told["Available"]["status"] == "True"
        work_goes_on(home, traffic)
        assert old & set(app_pods(home)), "pods of before serve while the Job runs"
        database.ask(f"INSERT INTO {next_version.GATE} VALUES (1)")
        home.until(lambda: of_the_next_version_only(home), what="new pods alone", timeout=200)
        work_goes_on(home, traffic)
    assert traffic.failures == []
    assert database.ask("SELECT version_num FROM hatoba_alembic_version") == next_version.HEAD
    assert home.available()["status"]["currentVersion"] == VERSION
    for tag, digest in traffic.pushed.items():
        path = f"/api/v1/repository/testorg/upgraded/manifest/{digest}"
        assert curl(home, registry.endpoint + path, token=registry.token)[0] == 200, tag
