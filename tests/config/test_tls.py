"""SSL_PROTOCOLS and SSL_CIPHERS: what is refused, and what it becomes."""

import pytest
import yaml

from hatoba.config.loader import ConfigurationInvalid, load
from hatoba.config.tls import TlsRules
from hatoba.config.validation import validate_mapping

GCM = "ECDHE-RSA-AES128-GCM-SHA256"
SUITE = "TLS_AES_128_GCM_SHA256"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"SSL_PROTOCOLS": ["TLSv1.3"]},
        {"SSL_PROTOCOLS": ["TLSv1.3", "TLSv1.2"]},
        {"SSL_PROTOCOLS": ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]},
        {"SSL_PROTOCOLS": ["TLSv1.1"], "SSL_CIPHERS": ["AES128-SHA", "@SECLEVEL=0"]},
        {"SSL_PROTOCOLS": ["TLSv1.3"], "SSL_CIPHERS": [SUITE]},
        {"SSL_PROTOCOLS": ["TLSv1.3"], "SSL_CIPHERS": [f"{SUITE}:TLS_AES_256_GCM_SHA384"]},
        {"SSL_CIPHERS": [SUITE, GCM]},
        {"SSL_CIPHERS": [f"{GCM}:AES256-SHA"]},
        {"SSL_CIPHERS": ["DES-CBC3-SHA", "UNHEARD-OF", GCM]},
        {"SSL_CIPHERS": ["HIGH", "!aNULL"]},
    ],
)
def test_what_somebody_can_connect_with_is_valid(config):
    assert validate_mapping(config) == []


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"SSL_PROTOCOLS": []}, "SSL_PROTOCOLS must name a version"),
        ({"SSL_PROTOCOLS": "TLSv1.3"}, "SSL_PROTOCOLS is not valid: input should be a valid list"),
        ({"SSL_PROTOCOLS": ["SSLv3"]}, "SSL_PROTOCOLS.0 is not valid: input should be 'TLSv1'"),
        ({"SSL_PROTOCOLS": ["TLSv1.1", "TLSv1.3"]}, "SSL_PROTOCOLS must not leave out TLSv1.2"),
        (
            {"SSL_PROTOCOLS": ["TLSv1.3", "TLSv1"]},
            "SSL_PROTOCOLS must not leave out TLSv1.1, TLSv1.2",
        ),
        ({"SSL_PROTOCOLS": ["TLSv1", "TLSv1.1"]}, "SSL_PROTOCOLS must name TLSv1.2 or TLSv1.3"),
        ({"SSL_CIPHERS": []}, "SSL_CIPHERS must name a cipher"),
        ({"SSL_CIPHERS": [GCM, ""]}, "SSL_CIPHERS must hold the names of ciphers alone"),
        ({"SSL_CIPHERS": [GCM + "\0"]}, "SSL_CIPHERS must hold the names of ciphers alone"),
        ({"SSL_CIPHERS": [4]}, "SSL_CIPHERS.0 is not valid: input should be a valid string"),
        ({"SSL_CIPHERS": ["UNHEARD-OF"]}, "SSL_CIPHERS names no cipher that OpenSSL"),
        ({"SSL_CIPHERS": ["@SECLEVEL=0"]}, "SSL_CIPHERS names no cipher that OpenSSL"),
        (
            {"SSL_PROTOCOLS": ["TLSv1.3"], "SSL_CIPHERS": ["UNHEARD-OF"]},
            "SSL_CIPHERS names no cipher that OpenSSL",
        ),
        (
            {"SSL_CIPHERS": [SUITE]},
            "SSL_CIPHERS names ciphers of TLSv1.3 alone, while SSL_PROTOCOLS begins with TLSv1.2",
        ),
    ],
)
def test_what_nobody_could_connect_with_is_told(config, fault):
    [finding] = validate_mapping(config)
    assert str(finding).startswith(fault)


def test_a_directory_gives_the_rules_of_its_listener(tmp_path):
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"SSL_PROTOCOLS": ["TLSv1.2"], "SSL_CIPHERS": [GCM]})
    )
    assert load(tmp_path).tls_rules == TlsRules(protocols=["TLSv1.2"], ciphers=[GCM])


def test_without_the_keys_the_usual_versions_are_spoken(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    rules = load(tmp_path).tls_rules
    assert (rules.oldest, rules.newest, tuple(rules.ciphers)) == ("TLSv1.2", "TLSv1.3", ())


def test_a_registry_does_not_start_with_ciphers_that_nobody_has(tmp_path):
    (tmp_path / "config.yaml").write_text("SSL_CIPHERS: [UNHEARD-OF]")
    with pytest.raises(ConfigurationInvalid, match="SSL_CIPHERS names no cipher"):
        load(tmp_path)
