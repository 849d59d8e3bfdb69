"""Jobs, from their first pod to their last condition."""

import pytest
from tests.cluster.controllers.conftest import NAMESPACE, condition

from hatoba.cluster.objects import JOBS, PODS

pytestmark = pytest.mark.anyio


def job(name="job", *, outcome="succeed", restart="Never", **spec):
    labels = {"job-name": name, "batch.kubernetes.io/job-name": name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "selector": {"matchLabels": labels},
            "manualSelector": True,
            "template": {
                "metadata": {"labels": labels, "annotations": {"pretend/outcome": outcome}},
                "spec": {
                    "restartPolicy": restart,
                    "containers": [{"name": "app", "image": "app:1"}],
                },
            },
            **spec,
        },
    }


def has(kind):
    return lambda o: (condition(o, kind) or ("",))[0] == "True"


async def test_a_job_completes_and_says_when_and_why(cluster):
    await cluster.create(JOBS, job())

    done = await cluster.until_object(JOBS, "job", has("Complete"))

    status = done["status"]
    assert [(c["type"], c["reason"], c["message"]) for c in status["conditions"]] == [
        (
            "SuccessCriteriaMet",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ),
        ("Complete", "CompletionsReached", "Reached expected number of succeeded pods"),
    ]
    assert (status["succeeded"], status["terminating"], status["ready"]) == (1, 0, 0)
    assert status["uncountedTerminatedPods"] == {}
    assert "active" not in status
    assert status["completionTime"]
    pods = await cluster.until(PODS, lambda items: not items[0]["metadata"].get("finalizers"))
    assert len(pods) == 1
    reasons = [reason for reason, _ in await cluster.reasons("job")]
    assert reasons == ["SuccessfulCreate", "Completed"]


async def test_a_failing_job_stops_at_its_backoff_limit(cluster):
    await cluster.create(JOBS, job(outcome="fail", backoffLimit=1))

    failed = await cluster.until_object(JOBS, "job", has("Failed"))

    assert [(c["type"], c["reason"]) for c in failed["status"]["conditions"]] == [
        ("FailureTarget", "BackoffLimitExceeded"),
        ("Failed", "BackoffLimitExceeded"),
    ]
    assert failed["status"]["failed"] == 2
    assert len(await cluster.items(PODS)) == 2
    assert ("BackoffLimitExceeded", "Job has reached the specified backoff limit") in (
        await cluster.reasons("job")
    )


async def test_restarts_in_place_count_against_the_limit(cluster):
    await cluster.create(JOBS, job(outcome="restart", restart="OnFailure", backoffLimit=1))

    failed = await cluster.until_object(JOBS, "job", has("Failed"))

    assert condition(failed, "Failed") == ("True", "BackoffLimitExceeded")
    assert failed["status"]["failed"] == 1
    await cluster.until(PODS, lambda items: not items)


async def test_parallelism_is_a_ceiling_and_completions_a_goal(cluster):
    made = job(outcome="unready", parallelism=2, completions=3)
    await cluster.create(JOBS, made)
    await cluster.until_object(JOBS, "job", lambda o: (o.get("status") or {}).get("active") == 2)
    await cluster.quiet()
    assert len(await cluster.items(PODS)) == 2

    for finished in range(1, 4):
        running = [p for p in await cluster.items(PODS) if p["status"].get("phase") == "Running"]
        await cluster.machine._status(running[0], "Succeeded", ready=False)
        await cluster.until_object(
            JOBS, "job", lambda o, n=finished: o["status"].get("succeeded", 0) == n
        )
        await cluster.quiet()

    done = await cluster.get(JOBS, "job")
    assert has("Complete")(done)
    assert len(await cluster.items(PODS)) == 3


async def test_a_finished_pod_that_somebody_deletes_still_counts(cluster):
    await cluster.create(JOBS, job(outcome="unready", completions=2))
    first = (await cluster.until(PODS, lambda p: p and p[0]["status"].get("phase") == "Running"))[0]
    await cluster.machine._status(first, "Succeeded", ready=False)
    await cluster.until_object(JOBS, "job", lambda o: o["status"].get("succeeded") == 1)
    await cluster.objects.delete(PODS, first["metadata"]["name"], NAMESPACE)
    await cluster.until_gone(PODS, first["metadata"]["name"])

    second = (await cluster.until(PODS, lambda p: p and p[0]["status"].get("phase") == "Running"))[
        0
    ]
    await cluster.machine._status(second, "Succeeded", ready=False)

    done = await cluster.until_object(JOBS, "job", has("Complete"))
    assert done["status"]["succeeded"] == 2


async def test_the_active_deadline_ends_a_job_with_its_pods(cluster):
    await cluster.create(JOBS, job(outcome="unready", activeDeadlineSeconds=1))

    failed = await cluster.until_object(JOBS, "job", has("Failed"))

    assert condition(failed, "Failed") == ("True", "DeadlineExceeded")
    await cluster.until(PODS, lambda items: not items)
    reasons = [reason for reason, _ in await cluster.reasons("job")]
    assert reasons == ["SuccessfulCreate", "SuccessfulDelete", "DeadlineExceeded"]


async def test_a_suspended_job_waits_and_resumes(cluster):
    await cluster.create(JOBS, job(suspend=True))
    waiting = await cluster.until_object(JOBS, "job", has("Suspended"))
    assert "startTime" not in waiting["status"]
    assert await cluster.items(PODS) == []

    await cluster.change(JOBS, "job", lambda o: o["spec"].update(suspend=False))

    done = await cluster.until_object(JOBS, "job", has("Complete"))
    assert condition(done, "Suspended") == ("False", "JobResumed")


async def test_a_finished_job_goes_when_its_time_is_over(cluster):
    await cluster.create(JOBS, job(ttlSecondsAfterFinished=0))

    await cluster.until(PODS, bool)
    await cluster.until_gone(JOBS, "job")
    await cluster.until(PODS, lambda items: not items)


async def test_pods_of_a_deleted_job_lose_their_mark(cluster):
    await cluster.create(JOBS, job(outcome="unready"))
    await cluster.until(PODS, lambda p: p and p[0]["status"].get("phase") == "Running")

    await cluster.objects.delete(JOBS, "job", NAMESPACE, propagation="Orphan")

    await cluster.until_gone(JOBS, "job")
    left = await cluster.until(PODS, lambda p: p and not p[0]["metadata"].get("finalizers"))
    assert left[0]["status"]["phase"] == "Running"


async def test_a_converged_job_causes_no_writes(cluster):
    await cluster.create(JOBS, job())
    await cluster.until_object(JOBS, "job", has("Complete"))
    before = await cluster.quiet()

    done = await cluster.get(JOBS, "job")
    await cluster.objects.update(JOBS, done, manager="test")

    assert await cluster.quiet() == before


async def test_what_is_not_interpreted_is_told(cluster):
    await cluster.create(JOBS, job(completionMode="Indexed"))

    await cluster.until_object(JOBS, "job", has("Complete"))

    assert ("Unsupported", "spec.completionMode is ignored by this cluster") in (
        await cluster.reasons("job")
    )
