import io
from datetime import timedelta

import pytest

pytestmark = pytest.mark.anyio
PATH = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"


def config_map(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(**spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "x"}]},
            },
            **spec,
        },
    }


async def plain(cluster, path, **headers):
    async with cluster.session.get(
        f"http://{cluster.server.address}{path}", headers=headers
    ) as response:
        return response.status, await response.text()


async def test_nobody_may_read_without_a_token(cluster):
    status, body = await plain(cluster, PATH)
    assert status == 403
    assert 'User \\"system:anonymous\\" cannot list resource \\"configmaps\\"' in body


async def test_a_bad_token_is_unauthorized(cluster):
    status, _ = await plain(cluster, PATH, Authorization="Bearer nonsense")
    assert status == 401


@pytest.mark.parametrize("path", ["/version", "/healthz", "/readyz", "/livez"])
async def test_health_and_version_are_open(cluster, path):
    assert (await plain(cluster, path))[0] == 200


async def test_impersonation_is_refused_instead_of_ignored(cluster):
    status, _ = await plain(
        cluster, PATH, Authorization="Bearer administrator", **{"Impersonate-User": "jane"}
    )
    assert status == 403


async def test_a_service_accounts_token_ends_with_the_account(cluster):
    issued = cluster.api.identities.issue("default", "default", lifetime=timedelta(hours=1)).token
    assert (await plain(cluster, "/apis", Authorization=f"Bearer {issued}"))[0] == 200
    await cluster.call("DELETE", "/api/v1/namespaces/default/serviceaccounts/default")
    assert (await plain(cluster, "/apis", Authorization=f"Bearer {issued}"))[0] == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nope", 404),
        ("/apis/nope.example/v1", 404),
        ("/apis/apps/v1/nope", 404),
        ("/api/v1/namespaces/default/pods/x/nope", 404),
    ],
)
async def test_unknown_paths_are_not_found(cluster, path, status):
    assert (await cluster.call("GET", path))[0] == status


async def test_both_forms_of_discovery_name_the_same_resources(cluster):
    _, legacy = await cluster.call("GET", "/apis/apps/v1")
    _, whole = await cluster.call(
        "GET",
        "/apis",
        accept="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )
    apps = next(item for item in whole["items"] if item["metadata"].get("name") == "apps")
    new = {r["resource"] for r in apps["versions"][0]["resources"]}
    assert new == {r["name"] for r in legacy["resources"] if "/" not in r["name"]}


async def test_every_kind_that_is_served_has_a_schema(cluster):
    _, index = await cluster.call("GET", "/openapi/v3")
    for path in index["paths"]:
        if "metrics.k8s.io" in path or "authentication" in path or "authorization" in path:
            continue
        _, document = await cluster.call("GET", f"/openapi/v3/{path}")
        known = [
            kind
            for schema in document["components"]["schemas"].values()
            for kind in schema.get("x-kubernetes-group-version-kind", [])
        ]
        for operations in document["paths"].values():
            for operation in operations.values():
                assert operation["x-kubernetes-group-version-kind"] in known


async def test_unknown_fields_are_refused_or_warned_of(cluster):
    wrong = deployment(bogus=1)
    status, body = await cluster.call("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", wrong)
    assert (status, body["reason"]) == (400, "BadRequest")
    assert body["message"].endswith('strict decoding error: unknown field "spec.bogus"')
    status, made = await cluster.call("POST", DEPLOYMENTS, wrong)
    assert (status, "bogus" in made["spec"]) == (201, False)


async def test_a_value_of_the_wrong_type_is_told_in_gos_words(cluster):
    status, body = await cluster.call("POST", DEPLOYMENTS, deployment(replicas="3"))
    assert status == 400
    assert body["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal'
        " string into Go struct field DeploymentSpec.spec.replicas of type int32"
    )


async def test_a_member_given_twice_is_refused_when_strict(cluster):
    body = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1","a":"2"}}'
    )
    status, answer = await cluster.call("POST", f"{PATH}?fieldValidation=Strict", body)
    assert status == 400
    assert 'duplicate field "data.a"' in answer["message"]


async def test_a_dry_run_answers_and_stores_nothing(cluster):
    status, made = await cluster.call("POST", f"{PATH}?dryRun=All", config_map(a="1"))
    assert status == 201
    assert "resourceVersion" not in made["metadata"]
    assert (await cluster.call("GET", f"{PATH}/c"))[0] == 404


async def test_pages_show_the_world_as_it_was_on_the_first(cluster):
    for number in range(5):
        await cluster.call("POST", PATH, config_map(f"c{number}"))
    _, first = await cluster.call("GET", f"{PATH}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    await cluster.call("DELETE", f"{PATH}/c3")
    await cluster.call("POST", PATH, config_map("c9"))
    _, second = await cluster.call(
        "GET", f"{PATH}?limit=9&continue={first['metadata']['continue']}"
    )
    names = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert names == ["c0", "c1", "c2", "c3", "c4"]


async def test_an_expired_page_offers_a_token_that_works(cluster):
    for number in range(3):
        await cluster.call("POST", PATH, config_map(f"c{number}"))
    _, first = await cluster.call("GET", f"{PATH}?limit=1")
    await cluster.call("POST", PATH, config_map("later"))
    await cluster.call("POST", PATH, config_map("latest"))
    cluster.api.store.compact(cluster.api.store.version)
    status, gone = await cluster.call(
        "GET", f"{PATH}?limit=1&continue={first['metadata']['continue']}"
    )
    assert (status, gone["reason"]) == (410, "Expired")
    _, again = await cluster.call("GET", f"{PATH}?continue={gone['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in again["items"]] == ["c1", "c2", "later", "latest"]


async def test_server_side_apply_creates_conflicts_and_yields_to_force(cluster):
    status, made = await cluster.call(
        "PATCH", f"{PATH}/c?fieldManager=one", config_map(a="1"), kind=APPLY
    )
    assert status == 201
    status, again = await cluster.call(
        "PATCH", f"{PATH}/c?fieldManager=one", config_map(a="1"), kind=APPLY
    )
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    status, conflict = await cluster.call(
        "PATCH", f"{PATH}/c?fieldManager=two", config_map(a="2"), kind=APPLY
    )
    assert (status, conflict["message"]) == (
        409,
        'Apply failed with 1 conflict: conflict with "one": .data.a',
    )
    status, forced = await cluster.call(
        "PATCH", f"{PATH}/c?fieldManager=two&force=true", config_map(a="2"), kind=APPLY
    )
    assert (status, forced["data"]) == (200, {"a": "2"})


async def test_apply_through_scale_takes_the_replicas_over(cluster):
    await cluster.call(
        "PATCH", f"{DEPLOYMENTS}/d?fieldManager=one", deployment(replicas=1), kind=APPLY
    )
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "d"},
        "spec": {"replicas": 4},
    }
    status, _ = await cluster.call(
        "PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=two", scale, kind=APPLY
    )
    assert status == 409
    status, scaled = await cluster.call(
        "PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=two&force=true", scale, kind=APPLY
    )
    assert (status, scaled["kind"], scaled["spec"]) == (200, "Scale", {"replicas": 4})


async def test_a_failed_test_of_a_json_patch_changes_nothing(cluster):
    await cluster.call("POST", PATH, config_map(a="1"))
    patch = [{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/a"}]
    status, _ = await cluster.call("PATCH", f"{PATH}/c", patch, kind="application/json-patch+json")
    assert status == 422
    assert (await cluster.call("GET", f"{PATH}/c"))[1]["data"] == {"a": "1"}


async def test_deleting_a_collection_respects_the_selector(cluster):
    await cluster.call(
        "POST", PATH, {**config_map("a"), "metadata": {"name": "a", "labels": {"x": "y"}}}
    )
    await cluster.call("POST", PATH, config_map("b"))
    status, gone = await cluster.call("DELETE", f"{PATH}?labelSelector=x%3Dy")
    assert (status, [item["metadata"]["name"] for item in gone["items"]]) == (200, ["a"])
    assert (await cluster.call("GET", f"{PATH}/b"))[0] == 200


async def test_the_older_version_of_an_autoscaler_keeps_what_it_does_not_know(cluster):
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    cpu, memory = (
        {
            "type": "Resource",
            "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": 90}},
        }
        for name in ("cpu", "memory")
    )
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "maxReplicas": 3,
            "metrics": [memory, cpu],
        },
    }
    await cluster.call("POST", path.format("v2"), body)
    _, old = await cluster.call("GET", path.format("v1") + "/h")
    assert old["spec"]["targetCPUUtilizationPercentage"] == 90
    old["spec"]["maxReplicas"] = 5
    await cluster.call("PUT", path.format("v1") + "/h", old)
    _, new = await cluster.call("GET", path.format("v2") + "/h")
    assert new["spec"]["maxReplicas"] == 5
    assert {m["resource"]["name"] for m in new["spec"]["metrics"]} == {"cpu", "memory"}


async def test_a_body_beyond_the_limit_is_refused(cluster):
    headers = {"Authorization": "Bearer administrator", "Content-Type": "application/json"}
    large = io.BytesIO(b" " * (4 << 20))
    url = f"http://{cluster.server.address}{PATH}"
    async with cluster.session.post(url, data=large, headers=headers) as response:
        status, body = response.status, await response.json()
    assert (status, body["reason"]) == (413, "RequestEntityTooLarge")
