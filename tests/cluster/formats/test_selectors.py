import pytest

from hatoba.cluster.api.status import BadRequest
from hatoba.cluster.formats.fields import parse_fields
from hatoba.cluster.formats.selectors import parse_labels

LABELS = {"app": "x", "tier": "web", "num": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app=x", True),
        ("app==y", False),
        ("app!=y,tier", True),
        ("none!=y", True),
        ("!app", False),
        ("!none", True),
        ("app in (x,y)", True),
        ("app notin (x)", False),
        ("none notin (x)", True),
        ("empty=", True),
        ("empty in ()", True),
        ("empty in (,z)", True),
        ("num>3", True),
        ("num<3", False),
        ("app>3", False),
        ("notin", False),
        ("example.com/x", False),
    ],
)
def test_label_selectors(text, selected):
    assert parse_labels(text).matches(LABELS) is selected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("app=x,", "found '', expected: identifier after ','"),
        ("app=x y", "found 'y', expected: ',' or 'end of string'"),
        ("!app=x", "found '=', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("app in x", "unable to parse requirement: found 'x' expected: '('"),
        (
            "num>abc",
            (
                'unable to parse requirement: values[0]: Invalid value: "abc":'
                " for 'Gt', 'Lt' operators, the value must be an integer"
            ),
        ),
        (
            f"app={'v' * 64}",
            (
                f'unable to parse requirement: values[0][app]: Invalid value: "{"v" * 64}":'
                " must be no more than 63 characters"
            ),
        ),
    ],
)
def test_wrong_label_selectors_are_refused_in_the_apis_words(text, message):
    with pytest.raises(BadRequest) as caught:
        parse_labels(text)
    assert caught.value.message == message


POD = {
    "metadata": {"name": "a", "namespace": "n"},
    "spec": {"nodeName": "node1"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("metadata.name=a,metadata.namespace=n", True),
        ("metadata.name!=a", False),
        ("status.phase==Running,spec.nodeName=node1", True),
        ("spec.hostNetwork=false", True),
        ("status.nominatedNodeName=", True),
        (r"metadata.name=a\,b", False),
    ],
)
def test_field_selectors_on_a_pod(text, selected):
    assert parse_fields(text, group="", kind="Pod").matches(POD) is selected


def test_events_are_selected_in_both_of_their_forms():
    event = {"involvedObject": {"name": "p", "kind": "Pod"}, "source": {"component": "kubelet"}}
    core = parse_fields("involvedObject.name=p,source=kubelet", group="", kind="Event")
    view = parse_fields("regarding.kind=Pod", group="events.k8s.io", kind="Event")
    assert core.matches(event)
    assert view.matches(event)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            "data.a=1",
            "ConfigMap",
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("spec.containers=x", "Pod", "field label not supported: spec.containers"),
        (
            "metadata.name",
            "Pod",
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
        ),
    ],
)
def test_wrong_field_selectors_are_refused_in_the_apis_words(text, kind, message):
    with pytest.raises(BadRequest) as caught:
        parse_fields(text, group="", kind=kind)
    assert caught.value.message == message


def test_a_custom_resource_offers_what_its_definition_selects():
    found = parse_fields(
        "spec.color=red", group="g", kind="K", is_custom=True, selectable=[".spec.color"]
    )
    assert found.matches({"spec": {"color": "red"}})
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.size"):
        parse_fields("spec.size=1", group="g", kind="K", is_custom=True)


def test_the_one_name_that_is_asked_for_is_known():
    selector = parse_fields("metadata.name=a", group="", kind="Pod")
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("metadata.namespace") is None
