from datetime import timedelta

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cli.config import config
from hatoba.config.components import COMPONENT_KEYS, contains_configuration
from hatoba.config.durations import format_duration, parse_duration
from hatoba.config.loader import ConfigurationInvalid, load, parse_yaml, unused_keys
from hatoba.config.schema import GROUPS, QuayConfig
from hatoba.config.validation import validate_mapping

AUTOMATION = {
    "FEATURE_USER_INITIALIZE": True,
    "BROWSER_API_CALLS_XHR_ONLY": False,
    "SUPER_USERS": ["quayadmin"],
    "FEATURE_USER_CREATION": False,
}


def test_the_walkthroughs_automation_config_is_valid_and_wholly_used():
    assert validate_mapping(AUTOMATION) == []
    assert unused_keys(AUTOMATION) == ()


def test_an_empty_config_is_valid():
    assert validate_mapping({}) == []


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("FEATURE_USER_INITIALIZE", "yes", "boolean"),
        ("SUPER_USERS", "quayadmin", "list"),
        ("SERVER_HOSTNAME", "https://quay.example.com", "without scheme"),
        ("SERVER_HOSTNAME", 5, "string"),
        ("DEFAULT_TAG_EXPIRATION", "2x", "2w"),
        ("MAXIMUM_LAYER_SIZE", "20T", "20G"),
        ("DB_URI", "mysql://a", "postgresql://"),
        ("DB_CONNECTION_ARGS", {"max_connections": 0}, "above 0"),
        ("DB_CONNECTION_ARGS", {"max_connections": "16"}, "above 0"),
        ("DB_CONNECTION_ARGS", {"max_connections": True}, "above 0"),
        ("DISTRIBUTED_STORAGE_CONFIG", {"a": ["MultiCDNStorage", {}]}, "LocalStorage"),
        ("DISTRIBUTED_STORAGE_PREFERENCE", ["elsewhere"], "not configured"),
        ("USER_EVENTS_REDIS", {"host": "redis", "port": 70000}, "65535"),
        ("FEATURE_SECURITY_SCANNER", True, "SECURITY_SCANNER"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(key, value, part):
    findings = validate_mapping({key: value})
    assert len(findings) == 1
    assert part in str(findings[0])


def test_a_default_expiration_that_is_no_option_is_refused():
    mapping = {"DEFAULT_TAG_EXPIRATION": "3w", "TAG_EXPIRATION_OPTIONS": ["2w"]}
    assert [finding.field for finding in validate_mapping(mapping)] == ["DEFAULT_TAG_EXPIRATION"]


def test_secrets_do_not_appear_in_findings():
    findings = validate_mapping({"DB_URI": "mysql://user:hunter2@host/db", "SECRET_KEY": 7})
    assert "hunter2" not in str(findings)


@pytest.mark.parametrize("text", ["a: [", "- a list", "1: number", b"\xff\xfe\x00"])
def test_what_is_not_a_yaml_mapping_is_refused(text):
    with pytest.raises(ConfigurationInvalid):
        parse_yaml(text)


def test_a_directory_without_config_yaml_is_refused(tmp_path):
    with pytest.raises(ConfigurationInvalid, match="cannot be read"):
        load(tmp_path)


def test_validate_lists_keys_that_nothing_reads(tmp_path):
    (tmp_path / "config.yaml").write_text("FEATURE_QUOTA_MANAGEMENT: true\n")
    result = CliRunner().invoke(config, ["validate", str(tmp_path)])
    assert result.exit_code == 0
    assert "FEATURE_QUOTA_MANAGEMENT: not used by this release" in result.output


def test_validate_exits_1_with_the_field(tmp_path):
    (tmp_path / "config.yaml").write_text("SUPER_USERS: quayadmin\n")
    result = CliRunner().invoke(config, ["validate", str(tmp_path)])
    assert result.exit_code == 1
    assert "SUPER_USERS" in result.output


def test_every_field_of_every_group_is_documented():
    undocumented = [
        name
        for group in GROUPS
        for name, field in group.model_fields.items()
        if not field.description
    ]
    assert undocumented == []


def test_groups_hold_every_key_once():
    names = [name for group in GROUPS for name in group.model_fields]
    assert sorted(names) == sorted(QuayConfig.model_fields)


@pytest.mark.parametrize("kind", sorted(kind for kind, keys in COMPONENT_KEYS.items() if keys))
def test_any_one_key_configures_a_component(kind):
    for key in COMPONENT_KEYS[kind]:
        assert contains_configuration(kind, {key: ""}, frozenset())
    assert not contains_configuration(kind, {"REGISTRY_TITLE": "x"}, frozenset())


def test_tls_is_configured_by_both_files_only():
    assert contains_configuration("tls", {}, frozenset({"ssl.cert", "ssl.key", "config.yaml"}))
    assert not contains_configuration("tls", {}, frozenset({"ssl.cert"}))


@given(st.integers(min_value=0, max_value=10**9))
def test_durations_survive_being_written_and_read(seconds):
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value
