"""What the pod's environment must and may say."""

import pytest

from hatoba.editor.settings import EditorMisconfigured, load_settings

POD = {
    "QUAY_PASSWORD": "p",
    "QUAY_OPERATOR_ENDPOINT": "http://quay-operator.hatoba-system:7071",
    "MY_POD_NAMESPACE": "quay-enterprise",
    "MY_POD_NAME": "example-registry-quay-config-editor-7d9f-x2",
    "QUAY_CONFIG_READ_ONLY_FIELD_GROUPS": "Database,SecurityScanner,,HostSettings,",
}


def test_the_registry_is_known_by_the_pods_name():
    settings = load_settings(POD)
    assert (settings.operator.namespace, settings.operator.registry) == (
        "quay-enterprise",
        "example-registry",
    )
    assert settings.read_only_groups == ("Database", "SecurityScanner", "HostSettings")
    assert {"DB_URI", "SERVER_HOSTNAME"} <= settings.locked_keys
    assert "REGISTRY_TITLE" not in settings.locked_keys


@pytest.mark.parametrize(
    "changes",
    [
        {"QUAY_PASSWORD": ""},
        {"MY_POD_NAMESPACE": ""},
        {"MY_POD_NAME": ""},
        {"MY_POD_NAME": "something-else"},
    ],
)
def test_an_environment_that_lacks_something_is_fatal(changes):
    with pytest.raises(EditorMisconfigured):
        load_settings(POD | changes)


def test_without_an_operator_no_pod_is_needed():
    assert load_settings({"QUAY_PASSWORD": "p"}).operator is None
