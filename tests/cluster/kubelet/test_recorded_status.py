"""Statuses of a real kubelet: from what they say of containers, ours says the same of the pod."""

import json

import pytest
from tests.recorded import require

from hatoba.cluster.kubelet.status import (
    ContainerView,
    PodView,
    Running,
    Terminated,
    Waiting,
    build_status,
)

pytestmark = pytest.mark.recorded

NOT_STARTED = {"pending", "toobig", "gate", "node"}
"""Pods that no kubelet ever had."""


def recorded_pods() -> list[dict]:
    path = require("kubernetes", "pod-lifecycle.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # The runtime names an image by any of its tags; the kubelet here by the one that was asked for.
    for row in rows:
        _name_images_as_asked(row["response_body"])
    bodies = [row["response_body"] for row in rows if row["step"].startswith("body after 30 s")]
    return [body for body in bodies if body["metadata"]["name"] not in NOT_STARTED]


def _name_images_as_asked(body) -> None:
    if not isinstance(body, dict) or body.get("kind") != "Pod" or "status" not in body:
        return
    for kind in ("initContainer", "container"):
        specs = {one["name"]: one for one in body["spec"].get(f"{kind}s", ())}
        for status in body["status"].get(f"{kind}Statuses", ()):
            status["image"] = specs[status["name"]]["image"]


def state_of(state: dict):
    if "running" in state:
        return Running(started_at=state["running"]["startedAt"])
    if "waiting" in state:
        return Waiting(
            reason=state["waiting"]["reason"], message=state["waiting"].get("message", "")
        )
    ended = state["terminated"]
    return Terminated(
        exit_code=ended["exitCode"],
        reason=ended["reason"],
        message=ended.get("message", ""),
        started_at=ended["startedAt"],
        finished_at=ended["finishedAt"],
        container_id=ended.get("containerID", ""),
    )


def view_of(status: dict) -> ContainerView:
    last = status["lastState"]
    return ContainerView(
        name=status["name"],
        state=state_of(status["state"]),
        last=state_of(last) if last else None,
        is_ready=status["ready"],
        has_started=status["started"],
        restarts=status["restartCount"],
        container_id=status.get("containerID", ""),
        image_id=status["imageID"],
    )


def test_the_whole_status_follows_from_the_containers():
    pods = recorded_pods()
    assert len(pods) > 25
    for pod in pods:
        recorded = pod["status"]
        conditions = {one["type"]: one for one in recorded["conditions"]}
        view = PodView(
            pod={**pod, "status": {**recorded, "phase": "Pending"}},
            inits=[view_of(one) for one in recorded.get("initContainerStatuses", ())],
            containers=[view_of(one) for one in recorded["containerStatuses"]],
            host_ip=recorded["hostIP"],
            pod_ip=recorded.get("podIP", ""),
            start_time=recorded["startTime"],
            is_sandbox_ready=conditions["PodReadyToStartContainers"]["status"] == "True",
            reason=recorded.get("reason", ""),
            message=recorded.get("message", ""),
        )
        made = build_status(view, now="now")
        assert made == recorded, pod["metadata"]["name"]
