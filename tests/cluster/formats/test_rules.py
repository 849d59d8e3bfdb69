import pytest

from hatoba.cluster.formats.rules import rule_faults
from hatoba.cluster.formats.schema import custom


def schema(**members):
    spec = {"type": "object", "properties": members.pop("properties", {}), **members}
    return custom({"type": "object", "properties": {"spec": spec}})


LARGE = schema(
    **{
        "x-kubernetes-validations": [
            {"rule": "self.size != 'large' || self.count >= 2", "message": "large needs two"}
        ]
    }
)


def test_a_rule_that_holds_says_nothing():
    assert rule_faults({"spec": {"size": "large", "count": 2}}, None, LARGE) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": "large", "count": 1}, 'Invalid value: "object": large needs two'),
        (
            {},
            'Invalid value: "object": no such key: size evaluating rule: large needs two',
        ),
    ],
)
def test_a_rule_that_does_not_hold_is_told_with_its_message(spec, message):
    if not spec:
        rule = {"rule": "self.size == 'large'", "message": "large needs two"}
        broken = schema(**{"x-kubernetes-validations": [rule]})
    else:
        broken = LARGE
    (cause,) = rule_faults({"spec": spec}, None, broken)
    assert (cause.field, cause.message) == ("spec", message)


def test_transition_rules_run_where_there_was_a_value_before():
    rule = {"rule": "self == oldSelf", "message": "is immutable"}
    fixed = schema(properties={"id": {"type": "string", "x-kubernetes-validations": [rule]}})
    assert rule_faults({"spec": {"id": "b"}}, None, fixed) == []
    assert rule_faults({"spec": {"id": "b"}}, {"spec": {}}, fixed) == []
    (cause,) = rule_faults({"spec": {"id": "b"}}, {"spec": {"id": "a"}}, fixed)
    assert (cause.field, cause.message) == ("spec.id", 'Invalid value: "string": is immutable')


def test_items_of_keyed_lists_are_found_again_by_their_keys():
    rule = {"rule": "self.n >= oldSelf.n"}
    rising = schema(
        properties={
            "l": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {
                    "type": "object",
                    "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
                    "x-kubernetes-validations": [rule],
                },
            }
        }
    )
    old = {"spec": {"l": [{"k": "a", "n": 5}, {"k": "b", "n": 1}]}}
    new = {"spec": {"l": [{"k": "b", "n": 2}, {"k": "a", "n": 4}]}}
    (cause,) = rule_faults(new, old, rising)
    assert cause.field == "spec.l[1]"
    assert cause.message == 'Invalid value: "object": failed rule: self.n >= oldSelf.n'


def test_functions_that_are_not_offered_are_told():
    rule = {"rule": "isURL(self)"}
    urls = schema(properties={"u": {"type": "string", "x-kubernetes-validations": [rule]}})
    (cause,) = rule_faults({"spec": {"u": "x"}}, None, urls)
    assert "isURL" in cause.message
