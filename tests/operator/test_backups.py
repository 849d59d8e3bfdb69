"""QuayRegistryBackup and QuayRegistryRestore against the API: what is made, what is said."""

import asyncio
import base64
import copy
import json

import aiohttp
import pytest
from tests.operator.builders import NAME, NAMESPACE
from tests.operator.conftest import CUSTODY, REGISTRIES

from hatoba.cluster.objects import DEPLOYMENTS, EVENTS, JOBS, SECRETS
from hatoba.kernel.errors import Conflict, Forbidden, InvalidInput
from hatoba.operator import keys
from hatoba.operator.backup import outcome
from hatoba.operator.backup.receiving import Receiver
from hatoba.operator.endpoints import reconfigure_application
from hatoba.operator.reconfigure import Reconfigurer
from hatoba.serving.listeners import listening

pytestmark = [pytest.mark.api, pytest.mark.anyio]
BACKUPS, RESTORES = CUSTODY
KEY = (NAMESPACE, "nightly")
VAULT = {"claimName": "backups", "keySecret": "vault-key"}
SUMMARY = {
    "id": "20261128T140000Z-abcde", "created_at": "2026-11-28T14:00:00Z",
    "finished_at": "2026-11-28T14:00:09Z", "database_bytes": 9, "blob_count": 3,
    "blob_bytes": 30, "copied_bytes": 20, "missing": [], "layout": 1,
}  # fmt: skip


async def create(world, kind, spec, resource, name="nightly"):
    obj = {
        "apiVersion": "quay.redhat.com/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
    return await world.objects.create(resource, obj, manager="kubectl-create")


async def backup(world, **spec):
    wanted = {"registryName": NAME, "vault": VAULT, **spec}
    return await create(world, "QuayRegistryBackup", wanted, BACKUPS)


async def restore(world, **spec):
    wanted = {"registryName": NAME, "vault": VAULT, **spec}
    return await create(world, "QuayRegistryRestore", wanted, RESTORES)


async def secret(world, name, **data):
    obj = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": keys.encode(data)}
    await world.objects.create(SECRETS, obj, manager="kubectl-create")


async def installed(world):
    await secret(world, "vault-key", key="sealing")
    await world.create_registry()
    await world.converge()


async def once(world, *, kind="backups"):
    await world.caught_up()
    outcome_of_pass = await getattr(world.operator.custody, kind).reconcile(KEY)
    await world.caught_up()
    return outcome_of_pass


async def said(world, resource=BACKUPS):
    obj = await world.objects.get(resource, "nightly", NAMESPACE)
    status = copy.deepcopy(obj.get("status", {}))
    return status, {one["type"]: one for one in status.get("conditions", [])}


async def jobs(world, prefix="nightly"):
    return [name for name in await world.names(JOBS) if name.startswith(prefix)]


async def test_a_backup_runs_once_as_a_pod_of_the_registry_would(world):
    await installed(world)
    await backup(world, keep=3)
    await once(world)
    (name,) = await jobs(world)
    job = copy.deepcopy(await world.objects.get(JOBS, name, NAMESPACE))
    app = await world.get(DEPLOYMENTS, "quay-app")
    pod, served = job["spec"]["template"]["spec"], app["spec"]["template"]["spec"]
    (container,), (theirs,) = pod["containers"], served["containers"]
    assert container["image"] == theirs["image"]
    assert container["args"][:3] == ["backup", "create", "--json"]
    assert f"/vault/{NAME}" in container["args"]
    assert container["args"][-2:] == ["--keep", "3"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
    assert {one["name"] for one in theirs["volumeMounts"]} < mounted
    assert "sealing" not in json.dumps(job)
    _, conditions = await said(world)
    assert conditions["Ready"]["status"] == "True"
    assert (conditions["Complete"]["status"], conditions["Complete"]["reason"]) == (
        "Unknown",
        "Running",
    )
    await world.play()
    await once(world)
    _, conditions = await said(world)
    assert conditions["Complete"]["status"] == "True"
    await once(world)
    assert await jobs(world) == [name]


async def events(world, kind):
    """Return (type, reason) of what was told, in order."""
    found = (await world.objects.list(EVENTS, NAMESPACE)).items
    mine = [one for one in found if one["involvedObject"]["kind"] == kind]
    mine.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
    return [(one["type"], one["reason"]) for one in mine]


async def test_each_turn_of_a_backup_is_an_event_and_no_pass_is(world):
    await installed(world)
    await backup(world)
    for _ in range(3):
        await once(world)
    assert await events(world, "QuayRegistryBackup") == [("Normal", "Running")]
    await world.play()
    for _ in range(3):
        await once(world)
    assert await events(world, "QuayRegistryBackup") == [
        ("Normal", "Running"),
        ("Normal", "BackupMade"),
    ]


async def test_a_backup_that_has_to_wait_is_a_warning(world):
    await secret(world, "vault-key", key="sealing")
    await backup(world)
    for _ in range(2):
        await once(world)
    assert await events(world, "QuayRegistryBackup") == [("Warning", "RegistryMissing")]


async def test_a_second_pass_writes_nothing(world):
    await installed(world)
    await backup(world)
    await once(world)
    await world.play()
    await once(world)
    before = world.cluster.writes
    await once(world)
    assert world.cluster.writes == before


async def test_a_pass_that_is_cut_off_makes_the_same_job_again(world):
    await installed(world)
    await backup(world)
    await once(world)
    obj = copy.deepcopy(await world.objects.get(BACKUPS, "nightly", NAMESPACE))
    obj["status"] = {}
    await world.objects.update(BACKUPS, obj, manager="test", subresource="status")
    await once(world)
    assert len(await jobs(world)) == 1


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({"registryName": "other"}, "RegistryMissing", "there is no QuayRegistry other"),
        ({"vault": {**VAULT, "keySecret": "no"}}, "SecretMissing", "create Secret no with the key"),
        (
            {"vault": {"s3": {"bucket": "b", "credentialsSecret": "vault-key"},
                       "keySecret": "vault-key"}},
            "SecretMissing",
            "Secret vault-key lacks the key",
        ),
        ({"schedule": "0 3 * *"}, "ScheduleInvalid", "has 4 fields instead of"),
        ({"suspend": True}, "Suspended", "spec.suspend is true"),
    ],
)  # fmt: skip
async def test_what_is_missing_is_said_and_nothing_runs(world, change, reason, message):
    await installed(world)
    await backup(world, **change)
    await once(world)
    _, conditions = await said(world)
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", reason)
    assert message in conditions["Ready"]["message"]
    assert "Complete" not in conditions
    assert await jobs(world) == []


async def test_a_registry_without_a_database_has_to_come_up_first(world):
    await secret(world, "vault-key", key="sealing")
    await world.create_registry()
    await backup(world)
    await once(world)
    _, conditions = await said(world)
    assert conditions["Ready"]["reason"] == "RegistryNotReady"


async def test_nothing_is_kept_while_the_blobs_are_moving(world):
    await installed(world)
    await backup(world)
    app = await world.get(DEPLOYMENTS, "quay-app")
    notes = app["spec"]["template"]["metadata"]["annotations"]
    notes["hatoba.dev/read-only-for-move"] = "true"
    await world.objects.update(DEPLOYMENTS, app, manager="test")
    asked = await once(world)
    _, conditions = await said(world)
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == (
        "False",
        "BlobsMoving",
    )
    assert await jobs(world) == []
    assert asked.again_after_seconds is not None
    app = await world.get(DEPLOYMENTS, "quay-app")
    del app["spec"]["template"]["metadata"]["annotations"]["hatoba.dev/read-only-for-move"]
    await world.objects.update(DEPLOYMENTS, app, manager="test")
    await once(world)
    assert len(await jobs(world)) == 1


async def test_a_schedule_waits_and_makes_up_for_missed_times_once(world):
    await installed(world)
    obj = copy.deepcopy(await backup(world, schedule="0 3 * * *"))
    asked = await once(world)
    status, conditions = await said(world)
    assert await jobs(world) == []
    assert conditions["Ready"]["status"] == "True"
    assert status["nextScheduledTime"].endswith("T03:00:00Z")
    assert 0 < asked.again_after_seconds <= 3600
    obj = copy.deepcopy(await world.objects.get(BACKUPS, "nightly", NAMESPACE))
    obj["status"] |= {"lastScheduledTime": "2020-01-01T03:00:00Z", "job": "nightly-1"}
    await world.objects.update(BACKUPS, obj, manager="test", subresource="status")
    await once(world)
    assert len(await jobs(world)) == 1
    await world.play()
    await once(world)
    await once(world)
    assert len(await jobs(world)) == 1
    status, _ = await said(world)
    assert status["lastScheduledTime"] > "2026"


@pytest.mark.parametrize(
    "spec",
    [
        {"registryName": "x", "vault": {"keySecret": "k"}},
        {"registryName": "x", "vault": {"keySecret": "k", "claimName": "c", "s3": {
            "bucket": "b", "credentialsSecret": "s"}}},
        {"registryName": "x", "vault": {**VAULT, "path": "../other"}},
        {"registryName": "x", "vault": VAULT, "keep": 0},
        {"registryName": "x", "vault": VAULT, "blobs": "Some"},
        {"vault": VAULT},
    ],
)  # fmt: skip
async def test_a_spec_that_cannot_be_followed_is_refused_by_the_definition(world, spec):
    with pytest.raises(InvalidInput):
        await create(world, "QuayRegistryBackup", spec, BACKUPS)


def test_what_a_job_said_becomes_facts():
    lines = ["2026 [info] x", json.dumps(SUMMARY), "10 backups removed"]
    summary = outcome.summary_in(lines)
    assert summary == SUMMARY
    assert outcome.facts(summary)["missingBlobs"] == 0
    assert outcome.summary_in(["{", '{"id": 1}']) is None
    assert outcome.complaint_in(["Traceback", "hatoba: no space left in /vault", ""]) == (
        "no space left in /vault"
    )
    assert outcome.complaint_in(["OSError: x", ""]) == "OSError: x"
    assert outcome.complaint_in([]) == ""


FILES = {
    "bundle/config.yaml": b"REGISTRY_TITLE: Mine\n",
    "keys/SECRET_KEY": b"old secret",
    "keys/DATABASE_SECRET_KEY": b"old database secret",
    "keys/DB_URI": b"postgresql://old:pw@old/old",
    "notes/registry": json.dumps(
        {"annotations": {"hatoba.dev/exposure": "Route"}, "spec": {"configBundleSecret": "mine"}}
    ).encode(),
}


def body(files=FILES, **change):
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    given = {"namespace": NAMESPACE, "restore": "nightly", "backup": "b1", "files": encoded}
    return json.dumps({**given, **change}).encode()


async def token(world):
    found = await world.objects.get(SECRETS, "nightly-handover", NAMESPACE)
    return keys.decode(found)["token"]


async def asked_for(world, **spec):
    await secret(world, "vault-key", key="sealing")
    await restore(world, **spec)
    await once(world, kind="restores")


async def received(world, **change):
    receiver = Receiver(world.cluster)
    return await receiver.receive(body(**change), authorization=f"Bearer {await token(world)}")


async def test_a_restoration_makes_the_registry_and_its_job_restores_first(world):
    await asked_for(world)
    assert await jobs(world) == ["nightly-handover"]
    assert await received(world) == NAME
    stored = keys.decode(await world.get(SECRETS, "quay-registry-managed-secret-keys"))
    assert stored == {"SECRET_KEY": "old secret", "DATABASE_SECRET_KEY": "old database secret"}
    await once(world, kind="restores")
    await world.converge()
    upgrade = await world.get(JOBS, "quay-app-upgrade")
    pod = upgrade["spec"]["template"]["spec"]
    (first,), (second,) = pod["initContainers"], pod["containers"]
    assert first["args"][:3] == ["backup", "restore", "b1"]
    assert second["args"] == ["registry", "migrate"]
    assert {one["name"] for one in first["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    secrets = await world.get(SECRETS, "quay-registry-managed-secret-keys")
    assert [one["kind"] for one in secrets["metadata"]["ownerReferences"]] == ["QuayRegistry"]
    assert keys.decode(secrets)["SECRET_KEY"] == "old secret"
    await once(world, kind="restores")
    status, conditions = await said(world, RESTORES)
    assert status["backup"] == "b1"
    assert (conditions["Complete"]["status"], conditions["Complete"]["reason"]) == (
        "True",
        "Restored",
    )
    registry = await world.registry()
    assert registry["spec"]["configBundleSecret"] == "mine"
    assert registry["metadata"]["annotations"]["hatoba.dev/exposure"] == "Route"


async def test_nobody_else_hands_over(world):
    await asked_for(world)
    receiver = Receiver(world.cluster)
    for said_word in ("", "Bearer ", "Bearer wrong"):
        with pytest.raises(Forbidden):
            await receiver.receive(body(), authorization=said_word)
    with pytest.raises(Forbidden):
        await receiver.receive(body(restore="other"), authorization=f"Bearer {await token(world)}")
    assert await world.names(REGISTRIES) == []


async def test_a_backup_that_no_operator_made_is_refused(world):
    await asked_for(world)
    with pytest.raises(InvalidInput, match="not made by a QuayRegistryBackup"):
        await received(world, files={"config/config.yaml": b""})
    with pytest.raises(InvalidInput, match="not a hand-over"):
        await received(world, more=1)
    assert await world.names(REGISTRIES) == []


async def test_handing_over_again_is_fine_and_other_keys_are_never_replaced(world):
    await asked_for(world)
    await received(world)
    await received(world)
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    with pytest.raises(Conflict, match="restore into an empty namespace"):
        await received(world, files={**FILES, "keys/SECRET_KEY": b"another"})
    stored = keys.decode(await world.get(SECRETS, "quay-registry-managed-secret-keys"))
    assert stored["SECRET_KEY"] == "old secret"


async def test_a_registry_that_is_there_is_left_alone(world):
    await installed(world)
    await restore(world)
    await once(world, kind="restores")
    _, conditions = await said(world, RESTORES)
    assert conditions["Complete"]["reason"] == "RegistryExists"
    assert await jobs(world) == []


async def test_without_its_restoration_the_registry_does_not_come_up_empty(world):
    await asked_for(world)
    await received(world)
    await world.objects.delete(RESTORES, "nightly", NAMESPACE)
    for _ in range(3):
        await world.once()
    (blocked,) = [
        one
        for one in (await world.registry())["status"]["conditions"]
        if one["type"] == "RolloutBlocked"
    ]
    assert blocked["status"] == "True"
    assert "restored by QuayRegistryRestore nightly" in blocked["message"]
    assert not await world.exists(JOBS, "quay-app-upgrade")


async def test_another_bundle_may_take_the_place_of_the_old_one(world):
    await world.create_bundle({"REGISTRY_TITLE": "New"}, name="new-bundle")
    await asked_for(world, configBundleSecret="new-bundle")
    await received(world)
    assert (await world.registry())["spec"]["configBundleSecret"] == "new-bundle"
    assert "mine" not in await world.names(SECRETS)


async def test_the_operators_endpoint_takes_it(world):
    await asked_for(world)
    application = reconfigure_application(Reconfigurer(world.cluster), Receiver(world.cluster))
    async with listening(application) as server, aiohttp.ClientSession() as session:
        answer = await session.post(f"{server.url}/restored", data=body())
        assert answer.status == 403
        headers = {"Authorization": f"Bearer {await token(world)}"}
        answer = await session.post(f"{server.url}/restored", data=body(), headers=headers)
        assert (answer.status, await answer.json()) == (200, {"registry": NAME})


async def until(question):
    async with asyncio.timeout(60):
        while not await question():  # noqa: ASYNC110 -- the cluster's API has no event to wait for
            await asyncio.sleep(0.02)


async def test_the_process_looks_after_both_by_itself(world):
    async def is_complete():
        _, conditions = await said(world)
        return conditions.get("Complete", {}).get("status") == "True"

    await installed(world)
    working = asyncio.create_task(world.operator.custody.run())
    await backup(world)
    await until(lambda: jobs(world))
    await world.play()
    await until(is_complete)
    world.operator.custody.stop()
    await working
