import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import NAME

from hatoba.operator import keys

pytestmark = pytest.mark.alone


def complete(stored=None, config=None, *, managed=True):
    return keys.complete(stored or {}, config or {}, registry=NAME, postgres_managed=managed)


def test_made_up_keys_have_the_documented_lengths():
    found = complete()
    lengths = {key: len(found[key]) for key in ("SECRET_KEY", "DATABASE_SECRET_KEY", "DB_ROOT_PW")}
    assert lengths == {"SECRET_KEY": 80, "DATABASE_SECRET_KEY": 80, "DB_ROOT_PW": 32}
    assert len(found["CONFIG_EDITOR_PASSWORD"]) == 16
    assert len(base64.b64decode(found["SECURITY_SCANNER_V4_PSK"])) == 32


def test_the_database_is_named_like_its_service():
    host = f"{NAME}-quay-database"
    found = complete()["DB_URI"]
    assert found.startswith(f"postgresql://{host}:")
    assert found.endswith(f"@{host}:5432/{host}")


def test_an_unmanaged_database_gets_no_address():
    assert "DB_URI" not in complete(managed=False)


def test_what_is_stored_stays():
    stored = complete()
    assert complete(stored) == stored


def test_a_key_of_the_bundle_wins_and_is_kept_when_it_leaves_the_bundle():
    stored = complete(complete(), {"SECRET_KEY": "mine", "DATABASE_SECRET_KEY": ""})
    assert stored["SECRET_KEY"] == "mine"
    assert len(stored["DATABASE_SECRET_KEY"]) == 80
    assert complete(stored)["SECRET_KEY"] == "mine"


def test_two_registries_share_nothing():
    first, second = complete(), complete()
    assert not set(first.values()) & set(second.values())


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_secrets_survive_encoding(values):
    assert keys.decode({"data": keys.encode(values)}) == values
