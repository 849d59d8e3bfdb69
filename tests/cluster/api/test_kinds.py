import pytest

from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.local import install
from hatoba.cluster.manifests import initial_objects
from hatoba.cluster.objects import (
    AUTOSCALERS,
    CLAIMS,
    CONFIG_MAPS,
    DEFINITIONS,
    JOBS,
    NAMESPACES,
    PODS,
    ROUTES,
    SECRETS,
    SERVICES,
)
from hatoba.kernel.errors import Forbidden, InvalidInput, NotFound

pytestmark = pytest.mark.anyio
ME = {"manager": "test"}


def named(name="x", **rest):
    return {"metadata": {"name": name, "namespace": "default"}, **rest}


def pod(**spec):
    return named(
        spec={"containers": [{"name": "c", "image": "x:1", **spec.pop("container", {})}], **spec}
    )


@pytest.fixture
async def objects(cluster):
    await install(cluster.objects, initial_objects(), registry=cluster.api.registry)
    return cluster.objects


async def test_installing_twice_changes_nothing(cluster, objects):
    version = cluster.api.store.version
    await install(objects, initial_objects(), registry=cluster.api.registry)
    assert cluster.api.store.version == version


async def test_a_pod_gets_its_defaults_and_the_accounts_token(objects):
    made = await objects.create(PODS, pod(), **ME)
    spec = made["spec"]
    assert (spec["restartPolicy"], spec["serviceAccountName"]) == ("Always", "default")
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"].endswith("serviceaccount")
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


async def test_a_pod_of_an_absent_account_is_forbidden(objects):
    with pytest.raises(Forbidden, match='serviceaccount "nobody" not found'):
        await objects.create(PODS, pod(serviceAccountName="nobody"), **ME)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (pod(restartPolicy="Sometimes"), "spec.restartPolicy: Unsupported value"),
        (
            pod(container={"ports": [{"containerPort": 70000}]}),
            "must be between 1 and 65535, inclusive",
        ),
        (pod(container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), 'Not found: "v"'),
        (pod(container={"name": "A_b"}), "a lowercase RFC 1123 label must consist of"),
        (pod(container={"image": ""}), "spec.containers\\[0\\].image: Required value"),
        (
            pod(container={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
            "cpu limit of 1",
        ),
        (named(spec={}), "spec.containers: Required value"),
    ],
)
async def test_a_pod_that_breaks_a_rule_is_refused(objects, broken, words):
    with pytest.raises(InvalidInput, match=words):
        await objects.create(PODS, broken, **ME)


async def test_only_images_of_a_pod_may_change(objects):
    made = clone(await objects.create(PODS, pod(), **ME))
    made["spec"]["containers"][0]["image"] = "x:2"
    changed = clone(await objects.update(PODS, made, **ME))
    changed["spec"]["containers"][0]["command"] = ["other"]
    with pytest.raises(InvalidInput, match="pod updates may not change fields other than"):
        await objects.update(PODS, changed, **ME)


async def test_services_have_addresses_of_their_own_for_life(objects):
    one, two = [
        await objects.create(SERVICES, named(name, spec={"ports": [{"port": 80}]}), **ME)
        for name in ("a", "b")
    ]
    assert one["spec"]["clusterIP"] != two["spec"]["clusterIP"]
    taken = named("c", spec={"ports": [{"port": 80}], "clusterIP": one["spec"]["clusterIP"]})
    with pytest.raises(InvalidInput, match="provided IP is already allocated"):
        await objects.create(SERVICES, taken, **ME)
    with pytest.raises(InvalidInput, match="may not change once set"):
        await objects.update(
            SERVICES, {**one, "spec": {**one["spec"], "clusterIP": "127.96.0.9"}}, **ME
        )
    await objects.delete(SERVICES, "a", "default")
    assert await objects.create(SERVICES, taken, **ME)
    headless = await objects.create(SERVICES, named("h", spec={"clusterIP": "None"}), **ME)
    assert headless["spec"]["clusterIPs"] == ["None"]


async def test_a_claim_gets_the_default_class_and_protection(objects):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await objects.create(CLAIMS, named(spec=spec), **ME)
    assert made["spec"]["storageClassName"] == "standard"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


async def test_a_secrets_text_becomes_data(objects):
    made = await objects.create(SECRETS, named(stringData={"a": "x"}, data={"b": "eg=="}), **ME)
    assert (made["data"], made["type"]) == ({"a": "eA==", "b": "eg=="}, "Opaque")
    assert "stringData" not in made


async def test_what_is_immutable_stays(objects):
    made = await objects.create(CONFIG_MAPS, named(data={"a": "1"}, immutable=True), **ME)
    with pytest.raises(InvalidInput, match="field is immutable when `immutable` is set"):
        await objects.update(CONFIG_MAPS, {**made, "data": {"a": "2"}}, **ME)


async def test_a_job_selects_by_its_own_uid_and_orphans_unless_told(objects):
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    made = await objects.create(JOBS, named(spec={"template": template}), **ME)
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "x"
    await objects.delete(JOBS, "x", "default")
    assert (await objects.get(JOBS, "x", "default"))["metadata"]["finalizers"] == ["orphan"]


async def test_an_autoscaler_needs_sensible_bounds(objects):
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 2}
    with pytest.raises(InvalidInput, match="must be greater than or equal to `minReplicas`"):
        await objects.create(AUTOSCALERS, named(spec=spec), **ME)


async def test_protected_namespaces_stay(objects):
    with pytest.raises(Forbidden, match="this namespace may not be deleted"):
        await objects.delete(NAMESPACES, "default", None)


async def test_a_definition_goes_with_its_objects_once_they_are_free(objects):
    route = named(spec={"to": {"kind": "Service", "name": "s"}})
    route["metadata"]["finalizers"] = ["example.com/hold"]
    made = await objects.create(ROUTES, route, **ME)
    assert made["spec"] == {
        "to": {"kind": "Service", "name": "s", "weight": 100},
        "wildcardPolicy": "None",
    }
    await objects.delete(DEFINITIONS, "routes.route.openshift.io", None)
    assert (await objects.get(ROUTES, "x", "default"))["metadata"]["deletionTimestamp"]
    await objects.patch(
        ROUTES,
        "x",
        "default",
        {"metadata": {"finalizers": None}},
        type="application/merge-patch+json",
        **ME,
    )
    with pytest.raises(NotFound):
        await objects.get(DEFINITIONS, "routes.route.openshift.io", None)
    with pytest.raises(NotFound):
        await objects.list(ROUTES)


async def test_a_route_with_a_wrong_termination_is_refused(objects):
    spec = {"to": {"kind": "Service", "name": "s"}, "tls": {"termination": "magic"}}
    with pytest.raises(InvalidInput, match='supported values: "edge", "reencrypt", "passthrough"'):
        await objects.create(ROUTES, named(spec=spec), **ME)
