"""Service accounts are held to their roles."""

from datetime import timedelta

import pytest

from hatoba.cluster.objects import ResourceName

pytestmark = pytest.mark.anyio

GROUP = "rbac.authorization.k8s.io"
ACCOUNT = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
MAPS = "/api/v1/namespaces/{}/configmaps"


async def a_role(cluster, *rules, kind="Role", name="r"):
    metadata = {"name": name} | ({"namespace": "default"} if kind == "Role" else {})
    resource = ResourceName(f"{kind.lower()}s", GROUP)
    await cluster.objects.create(
        resource, {"metadata": metadata, "rules": list(rules)}, manager="test"
    )


async def a_binding(cluster, subject, *, kind="RoleBinding", role="Role", name="r"):
    metadata = {"name": name} | ({"namespace": "default"} if kind == "RoleBinding" else {})
    await cluster.objects.create(
        ResourceName(f"{kind.lower()}s", GROUP),
        {
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": role, "name": name},
            "subjects": [subject],
        },
        manager="test",
    )


async def asks(cluster, method, path, body=None, **headers):
    issued = cluster.api.identities.issue("default", "default", lifetime=timedelta(hours=1)).token
    url = f"http://{cluster.server.address}{path}"
    headers["Authorization"] = f"Bearer {issued}"
    async with cluster.session.request(method, url, json=body, headers=headers) as response:
        return response.status, await response.json()


def rule(*verbs, resources=("configmaps",), groups=("",), **more):
    return {"verbs": verbs, "resources": resources, "apiGroups": groups, **more}


async def test_an_account_without_roles_may_look_around_only(cluster):
    assert (await asks(cluster, "GET", "/apis"))[0] == 200
    status, body = await asks(cluster, "GET", MAPS.format("default"))
    assert status == 403
    assert body["message"] == (
        'configmaps is forbidden: User "system:serviceaccount:default:default" cannot list '
        'resource "configmaps" in API group "" in the namespace "default"'
    )
    assert body["details"] == {"kind": "configmaps"}


async def test_a_role_holds_in_its_namespace_and_for_its_verbs(cluster):
    await a_role(cluster, rule("list"))
    await a_binding(cluster, ACCOUNT)
    assert (await asks(cluster, "GET", MAPS.format("default")))[0] == 200
    assert (await asks(cluster, "GET", MAPS.format("default") + "?watch=1"))[0] == 403
    assert (await asks(cluster, "GET", MAPS.format("kube-system")))[0] == 403
    assert (await asks(cluster, "GET", "/api/v1/configmaps"))[0] == 403


async def test_a_cluster_role_holds_where_it_is_bound(cluster):
    await a_role(cluster, rule("list"), kind="ClusterRole")
    await a_binding(cluster, ACCOUNT, role="ClusterRole")
    assert (await asks(cluster, "GET", MAPS.format("default")))[0] == 200
    assert (await asks(cluster, "GET", MAPS.format("kube-system")))[0] == 403
    await a_binding(cluster, ACCOUNT, kind="ClusterRoleBinding", role="ClusterRole")
    assert (await asks(cluster, "GET", MAPS.format("kube-system")))[0] == 200


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        (ACCOUNT, True),
        ({"kind": "ServiceAccount", "name": "default"}, True),
        ({"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"}, False),
        ({"kind": "ServiceAccount", "name": "other", "namespace": "default"}, False),
        ({"kind": "Group", "name": "system:serviceaccounts:default"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts:kube-system"}, False),
        ({"kind": "User", "name": "system:serviceaccount:default:default"}, True),
    ],
)
async def test_subjects_are_accounts_groups_and_users(cluster, subject, allowed):
    await a_role(cluster, rule("list"))
    await a_binding(cluster, subject)
    assert ((await asks(cluster, "GET", MAPS.format("default")))[0] == 200) is allowed


async def test_names_restrict_a_rule_to_single_objects(cluster):
    await a_role(cluster, rule("get", "list", resourceNames=["mine"]))
    await a_binding(cluster, ACCOUNT)
    path = MAPS.format("default")
    assert (await asks(cluster, "GET", f"{path}/mine"))[0] == 404
    assert (await asks(cluster, "GET", f"{path}/yours"))[0] == 403
    assert (await asks(cluster, "GET", path))[0] == 403


async def test_a_subresource_needs_a_rule_of_its_own(cluster):
    await a_role(cluster, rule("get", resources=["deployments"], groups=["apps"]))
    await a_binding(cluster, ACCOUNT)
    path = "/apis/apps/v1/namespaces/default/deployments/d"
    assert (await asks(cluster, "GET", path))[0] == 404
    assert (await asks(cluster, "GET", f"{path}/scale"))[0] == 403


async def test_an_apply_that_creates_needs_both_verbs(cluster):
    await a_role(cluster, rule("patch"))
    await a_binding(cluster, ACCOUNT)
    path = f"{MAPS.format('default')}/c?fieldManager=m"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    kind = {"Content-Type": "application/apply-patch+yaml"}
    status, answer = await asks(cluster, "PATCH", path, body, **kind)
    assert (status, "cannot create resource" in answer["message"]) == (403, True)
    await cluster.objects.create(
        ResourceName("configmaps"),
        {"metadata": {"name": "c", "namespace": "default"}},
        manager="test",
    )
    assert (await asks(cluster, "PATCH", path, body, **kind))[0] == 200


async def test_stars_mean_everything(cluster):
    await a_role(cluster, rule("*", resources=["*"], groups=["*"]))
    await a_binding(cluster, ACCOUNT)
    for path in (MAPS.format("default"), "/apis/apps/v1/namespaces/default/deployments/d/scale"):
        assert (await asks(cluster, "GET", path))[0] != 403


async def test_a_binding_to_no_role_grants_nothing(cluster):
    await a_binding(cluster, ACCOUNT)
    assert (await asks(cluster, "GET", MAPS.format("default")))[0] == 403


@pytest.mark.parametrize(("verb", "allowed"), [("list", True), ("delete", False)])
async def test_an_account_may_ask_what_it_may(cluster, verb, allowed):
    await a_role(cluster, rule("list"))
    await a_binding(cluster, ACCOUNT)
    attributes = {"verb": verb, "resource": "configmaps", "namespace": "default"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status, answer = await asks(cluster, "POST", path, {"spec": {"resourceAttributes": attributes}})
    assert (status, answer["status"]["allowed"]) == (201, allowed)
    user = "system:serviceaccount:default:default"
    _, answer = await cluster.call(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"resourceAttributes": attributes, "user": user}},
    )
    assert answer["status"]["allowed"] is allowed
