"""DISTRIBUTED_STORAGE_CONFIG: every driver's parameters, and what is said of wrong ones."""

import pytest

from hatoba.config.schema import QuayConfig
from hatoba.config.schema.containers import AzureLocation
from hatoba.config.schema.storage import BucketLocation, DirectoryLocation, parse_location
from hatoba.config.schema.swift import SwiftLocation
from hatoba.config.validation import validate_mapping

OWN = {
    "hostname": "s3.openshift-storage.svc.cluster.local",
    "is_secure": True,
    "port": 443,
    "bucket_name": "quay-datastore-1",
    "access_key": "key",
    "secret_key": "s3cr3t",
    "storage_path": "/datastorage/registry",
}
AMAZON = {"s3_bucket": "images", "s3_region": "eu-central-1", "storage_path": "/quay"}
AZURE = {
    "azure_account_name": "harbour",
    "azure_account_key": "czNjcjN0",
    "azure_container": "images",
    "storage_path": "/quay",
}
SWIFT = {
    "swift_container": "images",
    "swift_user": "quay",
    "swift_password": "s3cr3t",
    "auth_url": "https://keystone.example:5000/v3/",
    "storage_path": "/quay/",
}
FRONT = {
    "cloudfront_distribution_domain": "d1.cloudfront.net",
    "cloudfront_key_id": "K1",
    "cloudfront_privatekey_filename": "cloudfront.pem",
}


@pytest.mark.parametrize("driver", ["RadosGWStorage", "RHOCSStorage", "IBMCloudStorage"])
def test_a_storage_of_ones_own(driver):
    found = parse_location("a", [driver, OWN])
    assert isinstance(found, BucketLocation)
    assert found.endpoint_url == "https://s3.openshift-storage.svc.cluster.local:443"
    assert (found.bucket, found.prefix) == ("quay-datastore-1", "datastorage/registry")


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, None),
        ({"host": "minio"}, "https://minio"),
        ({"host": "minio", "port": 9000, "is_secure": False}, "http://minio:9000"),
        ({"host": "unused", "endpoint_url": "http://minio:9000"}, "http://minio:9000"),
    ],
)
def test_amazon_and_what_speaks_like_it(more, endpoint):
    found = parse_location("a", ("S3Storage", {**AMAZON, **more}))
    assert isinstance(found, BucketLocation)
    assert found.endpoint_url == endpoint
    assert (found.access_key, found.secret_key, found.region) == (None, None, "eu-central-1")


def test_cloudfront_is_a_bucket_with_something_in_front():
    found = parse_location("a", ["CloudFrontedS3Storage", {**AMAZON, **FRONT}])
    assert isinstance(found, BucketLocation)
    assert found.cloudfront is not None
    assert found.cloudfront.domain == "d1.cloudfront.net"


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, "https://harbour.blob.core.windows.net"),
        ({"endpoint_url": "https://harbour.blob.core.usgovcloudapi.net/"}, None),
        ({"endpoint_url": "http://127.0.0.1:10000/harbour"}, None),
    ],
)
def test_azure(more, endpoint):
    found = parse_location("a", ["AzureStorage", {**AZURE, **more}])
    assert isinstance(found, AzureLocation)
    assert found.endpoint_url == (endpoint or more["endpoint_url"].rstrip("/"))
    assert (found.account_key, found.container, found.prefix) == (b"s3cr3t", "images", "quay")
    assert "s3cr3t" not in repr(found)
    assert "czNjcjN0" not in repr(found)


def test_swift():
    told = {"auth_version": "3", "temp_url_key": "l1nk", "os_options": {"tenant_name": "t"}}
    found = parse_location("a", ["SwiftStorage", {**SWIFT, **told}])
    assert isinstance(found, SwiftLocation)
    assert (found.prefix, found.auth_url) == ("quay/", "https://keystone.example:5000/v3")
    assert (found.auth_version, found.scope.tenant_name) == (3, "t")
    assert "s3cr3t" not in repr(found)
    assert "l1nk" not in repr(found)


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ({"storage_path": "/quay-", "simple_path_concat": True}, "quay-"),
        ({"storage_path": ""}, ""),
        ({"storage_path": "/"}, ""),
    ],
)
def test_what_swift_keys_begin_with(given, prefix):
    found = parse_location("a", ["SwiftStorage", {**SWIFT, **given}])
    assert isinstance(found, SwiftLocation)
    assert found.prefix == prefix
    assert found.auth_version == 2


def test_quays_names_of_swift_options_win():
    quays = {"ca_cert_path": "ca.pem", "connect_timeout": 9, "retry_count": 1, "attempts": 7}
    found = parse_location("a", ["SwiftStorage", {**SWIFT, **quays, "retry_on_ratelimit": True}])
    assert isinstance(found, SwiftLocation)
    options = found.options
    assert (options.ca_bundle, options.connect_timeout_seconds) == ("ca.pem", 9)
    assert options.attempts == 2


def test_google_is_a_bucket_that_joins_nothing():
    given = {"access_key": "k", "secret_key": "s3cr3t", "bucket_name": "b", "boto_timeout": 9}
    found = parse_location("a", ["GoogleCloudStorage", given])
    assert isinstance(found, BucketLocation)
    assert (found.endpoint_url, found.region) == ("https://storage.googleapis.com", "auto")
    assert (found.joins, found.options.read_timeout_seconds) == (False, 9)


def test_a_directory():
    assert parse_location("a", ["LocalStorage", {"storage_path": "x"}]) == DirectoryLocation(
        path="x"
    )


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("S3Storage", "must give [driver, parameters] for the location a"),
        (["S3Storage"], "must give [driver, parameters] for the location a"),
        (["S3Storage", []], "must give S3Storage of a a mapping of parameters"),
        (["LocalStorage", {}], "is not valid for a: LocalStorage needs storage_path"),
        (
            ["LocalStorage", {"storage_path": ""}],
            "is not valid for a: storage_path: string should have at least 1 character",
        ),
        (["S3Storage", {"storage_path": "/x"}], "is not valid for a: S3Storage needs s3_bucket"),
        (
            ["RHOCSStorage", {"storage_path": "/x", "bucket_name": "b"}],
            (
                "is not valid for a: RHOCSStorage needs hostname; RHOCSStorage needs access_key; "
                "RHOCSStorage needs secret_key"
            ),
        ),
        (
            ["S3Storage", {**AMAZON, "bucket_name": "b"}],
            "is not valid for a: S3Storage has no parameter bucket_name",
        ),
        (
            ["S3Storage", {**AMAZON, "s3_access_key": "k"}],
            (
                "is not valid for a: S3Storage gives one of s3_access_key and s3_secret_key without "
                "the other"
            ),
        ),
        (
            ["S3Storage", {**AMAZON, "endpoint_url": "minio:9000/bucket"}],
            (
                "is not valid for a: endpoint_url must be http:// or https:// and a host, without a "
                "path"
            ),
        ),
        (
            ["RadosGWStorage", {**OWN, "port": 70000}],
            "is not valid for a: port: input should be less than or equal to 65535",
        ),
        (
            ["RadosGWStorage", {**OWN, "minimum_chunk_size_mb": 4}],
            "is not valid for a: minimum_chunk_size_mb: input should be greater than or equal to 5",
        ),
        (
            ["AzureStorage", {**AZURE, "azure_container": "Images"}],
            (
                "is not valid for a: azure_container: string should match pattern "
                "'^(\\$root|[a-z0-9](-?[a-z0-9]){2,62})$'"
            ),
        ),
        (
            ["AzureStorage", {**AZURE, "azure_account_key": "not base64!"}],
            "is not valid for a: azure_account_key must be base64, as the portal shows it",
        ),
        (
            ["AzureStorage", {**AZURE, "azure_account_key": None}],
            "is not valid for a: AzureStorage needs azure_account_key or sas_token",
        ),
        (
            ["AzureStorage", {**AZURE, "signature_version": "s3"}],
            "is not valid for a: AzureStorage has no parameter signature_version",
        ),
        (
            ["SwiftStorage", {**SWIFT, "auth_version": 4}],
            "is not valid for a: auth_version: input should be 1, 2 or 3",
        ),
        (
            ["SwiftStorage", {**SWIFT, "os_options": {"tenant": "t"}}],
            "is not valid for a: SwiftStorage has no parameter os_options.tenant",
        ),
        (
            ["SwiftStorage", {**SWIFT, "retry_on_ratelimit": False}],
            "is not valid for a: retry_on_ratelimit: input should be True",
        ),
        (
            ["SwiftStorage", {**SWIFT, "maximum_chunk_size_mb": 5121}],
            "is not valid for a: maximum_chunk_size_mb: input should be less than or equal to 5120",
        ),
        (
            ["MultiCDNStorage", {}],
            (
                "names the driver 'MultiCDNStorage' for a; this release has AzureStorage, "
                "CloudFrontedS3Storage, GoogleCloudStorage, IBMCloudStorage, LocalStorage, RHOCSStorage, RadosGWStorage, S3Storage, SwiftStorage"
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_exactly(location, sentence):
    findings = validate_mapping({"DISTRIBUTED_STORAGE_CONFIG": {"a": location}})
    assert [str(finding) for finding in findings] == [f"DISTRIBUTED_STORAGE_CONFIG {sentence}"]


def test_no_secret_is_shown():
    wrong = {"a": ["RHOCSStorage", {**OWN, "port": "x"}]}
    (finding,) = validate_mapping({"DISTRIBUTED_STORAGE_CONFIG": wrong})
    assert "s3cr3t" not in str(finding)
    assert "s3cr3t" not in repr(parse_location("a", ["RHOCSStorage", OWN]))


def test_the_preferred_location_comes_first():
    settings = QuayConfig.model_validate(
        {
            "DISTRIBUTED_STORAGE_CONFIG": {
                "old": ["LocalStorage", {"storage_path": "x"}],
                "new": ["RHOCSStorage", OWN],
            },
            "DISTRIBUTED_STORAGE_PREFERENCE": ["new"],
        }
    )
    assert list(settings.storage_locations) == ["new", "old"]
