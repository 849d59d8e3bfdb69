"""Where recordings of a real cluster end, ours ends too."""

import re
from dataclasses import dataclass

import pytest
from tests.cluster.controllers.conftest import build, deployment
from tests.cluster.controllers.replay import (
    RecordedMachine,
    Recording,
    Replay,
    differences,
)
from tests.recorded import require
from typing_extensions import override

from hatoba.cluster.controllers.claims import STANDARD, STORAGE_CLASSES
from hatoba.cluster.objects import DEPLOYMENTS

pytestmark = [pytest.mark.anyio, pytest.mark.recorded]


async def no_default_class(cluster):
    """The recorded cluster had no default StorageClass."""
    await cluster.objects.delete(STORAGE_CLASSES, STANDARD, None)


async def two_web_pods(cluster):
    made = deployment()
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sleep 3600"]
    container["ports"] = [{"name": "web", "containerPort": 8080}]
    await cluster.create(DEPLOYMENTS, made, "svc")


async def no_web_pods(cluster):
    await cluster.objects.delete(DEPLOYMENTS, "web", "svc")


@dataclass
class Scenario:
    """One recording."""

    name: str
    namespace: str
    hidden: tuple = ()
    tolerated: tuple = ()
    """Patterns of differences that are right, with the reason beside each."""

    @override
    def __str__(self):
        return self.name


SCENARIOS = [
    Scenario("deploy-rolling", "rol"),
    Scenario("deploy-recreate-pause", "rec"),
    Scenario("deploy-deadline", "dln"),
    Scenario("deploy-adopt", "ado"),
    Scenario("job", "job"),
    Scenario(
        "hpa",
        "hpa",
        tolerated=(
            # Four autoscalers race for one target: who is first is chance there and here.
            r"event .*FailedRescale",
            r"event .*(SuccessfulRescale|FailedGetResourceMetric|invalid metrics)",
            r"event missing.*multiple HPAs: \[hpa/auto hpa/beh( hpa/web)?\]",
        ),
    ),
    Scenario("hpa-single", "hpb"),
    Scenario(
        "pvc",
        "pvc",
        hidden=((0.0, no_default_class),),
        tolerated=(
            # There, the claim was looked at before the volume made for it had been noticed.
            r"event missing.*'bound'.*ProvisioningFailed",
        ),
    ),
    Scenario("service-endpoints", "svc", hidden=((0.3, two_web_pods), (6.35, no_web_pods))),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_the_recording_and_we_end_alike(scenario, tmp_path):
    path = require("kubernetes", f"{scenario.name}.jsonl")
    recording = Recording.load(path, scenario.namespace)
    async with build(tmp_path, machine=RecordedMachine, autoscaler_period=5.0) as cluster:
        replay = Replay(recording, cluster, hidden=scenario.hidden)
        await replay.run()
        actual = await replay.outcome()

    expected = replay.expected()
    for side in (expected, actual):
        for key, essence in side.items():
            if scenario.name == "hpa" and key.startswith("HorizontalPodAutoscaler"):
                # As chance has it too: the size that only the winner of the race wrote down.
                del essence["status"]["desiredReplicas"]
    found = differences(expected, actual)
    wrong = [line for line in found if not any(re.match(rule, line) for rule in scenario.tolerated)]
    assert replay.refused == []
    assert len(expected) > 1
    assert not wrong, "\n".join(wrong)
