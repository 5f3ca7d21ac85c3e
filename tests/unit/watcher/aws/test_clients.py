from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import boto3.exceptions  # noqa: F401  (its errors are botocore's too)
import botocore.discovery  # noqa: F401
import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import ProtocolError

from tests.equipment.moto import moto_server, use_credentials
from tests.equipment.scripted_proxy import Answer, ScriptedProxy, refusal, scripted_proxy, times
from watcher.aws.clients import AwsOptions, is_amazon, make_client, translate_errors
from watcher.aws.errors import translate
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, Denied, SourceMissing, Stale, Throttled, Unavailable, WatcherError


def all_below(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(lower for below in kind.__subclasses__() for lower in all_below(below))]


BOTO_ERRORS = sorted(
    {kind for kind in all_below(boto.BotoCoreError) if kind.__module__.startswith(("boto3.", "botocore."))},
    key=lambda kind: kind.__name__,
)
SETTINGS = [
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.InvalidDNSNameError,
    boto.InvalidRegionError,
    boto.InvalidRetryModeError,
    boto.MissingDependencyException,
    boto.NoRegionError,
    boto.ParamValidationError,
    boto.ProfileNotFound,
    boto.UnknownEndpointError,
]
CREDENTIALS = [
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.SSOTokenLoadError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    *([boto.LoginRefreshRequired] if hasattr(boto, "LoginRefreshRequired") else []),  # since botocore 1.41
]
NETWORK = [
    boto.ConnectTimeoutError,
    boto.ConnectionClosedError,
    boto.EndpointConnectionError,
    boto.FlexibleChecksumError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ProxyConnectionError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
    boto.SSLError,
]


class Filled(dict[str, object]):
    """What an error's text is made of: whatever it asks for."""

    def __missing__(self, name: str) -> str:
        return "something"


def made(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    text = getattr(kind, "fmt", "").format_map(Filled()) or kind.__name__
    Exception.__init__(error, text)
    return error


def answered(code: str, status: int, message: str | None = "No.") -> ClientError:
    error = {"Code": code} | ({"Message": message} if message else {})
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)


@pytest.fixture
def proxy() -> Iterator[ScriptedProxy]:
    with scripted_proxy(moto_server().port) as running:
        yield running


class TestTranslate:
    @pytest.mark.parametrize("kind", BOTO_ERRORS, ids=lambda kind: kind.__name__)
    def test_translates_every_error_of_boto(self, kind: type[Exception]) -> None:
        ours = translate(made(kind), "s3://bucket/x.png")
        assert isinstance(ours, Unavailable | ConfigurationError)
        assert str(ours).startswith("s3://bucket/x.png: ")

    @pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
    def test_of_a_wrong_setting_is_a_configuration_error(self, kind: type[Exception]) -> None:
        assert type(translate(made(kind), "s3")) is ConfigurationError

    @pytest.mark.parametrize("kind", CREDENTIALS, ids=lambda kind: kind.__name__)
    def test_says_how_to_fix_credentials(self, kind: type[Exception]) -> None:
        ours = translate(made(kind), "s3")
        assert type(ours) is Denied
        assert "something" not in str(ours)

    @pytest.mark.parametrize("kind", NETWORK, ids=lambda kind: kind.__name__)
    def test_of_a_network_error_is_unavailable(self, kind: type[Exception]) -> None:
        assert type(translate(made(kind), "s3")) is Unavailable

    @pytest.mark.parametrize("error", [ProtocolError("broken"), ResponseParserError("a page"), TimeoutError("late")])
    def test_translates_errors_that_botocore_does_not_wrap(self, error: Exception) -> None:
        assert type(translate(error, "s3")) is Unavailable

    @pytest.mark.parametrize(
        ("code", "status", "kind"),
        [
            ("SlowDown", 503, Throttled),
            ("503", 503, Throttled),
            ("429", 429, Throttled),
            ("SlowDownWrite", 400, Throttled),
            ("ThrottlingException", 400, Throttled),
            ("RequestThrottled", 403, Throttled),
            ("RequestLimitExceeded", 400, Throttled),
            ("AccessDenied", 403, Denied),
            ("403", 403, Denied),
            ("401", 401, Denied),
            ("ExpiredToken", 400, Denied),
            ("InvalidAccessKeyId", 403, Denied),
            ("SignatureDoesNotMatch", 403, Denied),
            ("KMS.DisabledException", 400, Denied),
            ("RequestTimeTooSkewed", 403, Denied),
            ("NoSuchBucket", 404, SourceMissing),
            ("InternalError", 500, Unavailable),
            ("502", 502, Unavailable),
            ("EntityTooLarge", 400, Unavailable),
            ("", 0, Unavailable),
        ],
    )
    def test_goes_by_code_and_status(self, code: str, status: int, kind: type[WatcherError]) -> None:
        assert type(translate(answered(code, status), "s3")) is kind
        assert type(translate(answered(code, status, None), "s3")) is kind

    def test_says_that_the_clock_is_wrong(self) -> None:
        assert "this machine's clock is wrong" in str(translate(answered("RequestTimeTooSkewed", 403), "s3"))

    def test_repeats_the_message_of_the_service(self) -> None:
        ours = translate(answered("AccessDenied", 403, "s3:PutObject\nis not allowed."), "s3://b/x.png")
        assert str(ours) == (
            "s3://b/x.png: the service answers AccessDenied (403): s3:PutObject is not allowed; "
            "allow it in the policy of the user, role or bucket"
        )

    def test_never_repeats_a_password(self) -> None:
        errors = [
            boto.EndpointConnectionError(endpoint_url="https://user:secret@s3.example/b"),
            boto.ProxyConnectionError(proxy_url="http://user:secret@proxy:3128"),
            boto.CredentialRetrievalError(provider="custom-process", error_msg="secret"),
            answered("AccessDenied", 403, "see https://user:secret@s3.example"),
        ]
        for error in errors:
            assert "secret" not in str(translate(error, "s3"))

    @pytest.mark.parametrize(
        "error",
        [
            boto.EndpointConnectionError(endpoint_url="http://store/shop/in/portrait.jpg"),
            boto.ReadTimeoutError(endpoint_url="http://store/shop/in/portrait.jpg"),
            answered(
                "AccessDenied", 403, "not authorized to perform: s3:GetObject on arn:aws:s3:::shop/in/portrait.jpg"
            ),
            answered("SlowDown", 503, "/shop/in/portrait.jpg"),
            answered("InternalError", 500, "/shop/in/portrait.jpg"),
            answered("NoSuchBucket", 404, "/shop/in/portrait.jpg"),
            boto.NoCredentialsError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_has_a_public_text_that_names_no_object(self, error: Exception) -> None:
        ours = translate(error, "reading s3://shop/in/portrait.jpg")
        assert ours is not None and "portrait" in str(ours)
        assert "portrait" not in ours.public and len(ours.public) > 10

    def test_leaves_other_errors(self) -> None:
        assert translate(Stale("x.jpg"), "s3") is None
        assert translate(KeyError("x"), "s3") is None


class TestTranslateErrors:
    def test_keeps_the_cause(self) -> None:
        cause = answered("SlowDown", 503)
        with pytest.raises(Throttled) as caught, translate_errors("s3"):
            raise cause
        assert caught.value.__cause__ is cause

    def test_lets_our_own_errors_and_bugs_through(self) -> None:
        for error in (Stale("x.jpg"), ValueError("a bug")):
            with pytest.raises(type(error)) as caught, translate_errors("s3"):
                raise error
            assert caught.value is error


class TestMakeClient:
    def test_of_another_endpoint_needs_no_region(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        for service in ("s3", "sqs"):
            client = make_client(service, AwsOptions("http://127.0.0.1:1"), Counts())
            assert client.meta.region_name == "us-east-1"
            assert not is_amazon(client)

    def test_of_amazon_uses_the_given_region(self) -> None:
        client = make_client("sqs", AwsOptions(region="eu-central-1"), Counts())
        assert client.meta.endpoint_url == "https://sqs.eu-central-1.amazonaws.com"
        assert is_amazon(client)

    def test_without_a_region_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(ConfigurationError, match="set the region"):
            make_client("sqs", AwsOptions(), Counts())

    @pytest.mark.parametrize(
        ("options", "style", "checksums"),
        [
            (AwsOptions("http://127.0.0.1:1"), "path", "when_required"),
            (AwsOptions("http://127.0.0.1:1", path_style=False), "virtual", "when_required"),
            (AwsOptions(), "auto", "when_supported"),
            (AwsOptions(path_style=True), "path", "when_supported"),
        ],
    )
    def test_puts_the_bucket_into_path_or_host_name(self, options: AwsOptions, style: str, checksums: str) -> None:
        config = make_client("s3", options, Counts()).meta.config
        assert config.s3["addressing_style"] == style
        assert config.request_checksum_calculation == checksums
        assert config.response_checksum_validation == checksums

    def test_takes_an_endpoint_from_botos_variables_for_another_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        client = make_client("s3", AwsOptions(), Counts())
        assert client.meta.endpoint_url == "http://127.0.0.1:1"
        assert client.meta.config.s3["addressing_style"] == "path"
        assert client.meta.config.request_checksum_calculation == "when_required"

    def test_sets_timeouts_and_connections(self) -> None:
        config = make_client("s3", AwsOptions(connections=7, connect_timeout=3, read_timeout=4), Counts()).meta.config
        assert (config.max_pool_connections, config.connect_timeout, config.read_timeout) == (7, 3, 4)

    def test_of_an_unknown_profile_or_address_is_a_configuration_error(self) -> None:
        with pytest.raises(ConfigurationError, match=r"nobody.*name another profile"):
            make_client("s3", AwsOptions(profile="nobody"), Counts())
        with pytest.raises(ConfigurationError, match="http://"):
            make_client("s3", AwsOptions("not an address"), Counts())

    def test_without_credentials_is_denied_at_the_first_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        client = make_client("s3", AwsOptions("http://127.0.0.1:1"), Counts())
        with pytest.raises(Denied, match="AWS_ACCESS_KEY_ID"), translate_errors("s3"):
            client.list_buckets()

    def test_of_an_unreachable_server_is_unavailable(self) -> None:
        client = make_client("s3", AwsOptions("http://127.0.0.1:1", attempts=1), Counts())
        with pytest.raises(Unavailable, match="check the address"), translate_errors("s3"):
            client.list_buckets()

    def test_of_another_kind_of_server_is_unavailable(self, proxy: ScriptedProxy) -> None:
        proxy.instead = times(9, Answer(200, b"<html>Welcome<br></html>"), "GET")
        client = make_client("s3", AwsOptions(proxy.endpoint), Counts())
        with pytest.raises(Unavailable), translate_errors("s3"):
            client.list_buckets()

    def test_counts_throttled_requests_and_repeats_them(self, proxy: ScriptedProxy) -> None:
        counts = Counts()
        client = make_client("s3", AwsOptions(proxy.endpoint), counts)
        bucket = moto_server().bucket()
        proxy.instead = times(2, refusal(503, "SlowDown"), "PUT")
        client.put_object(Bucket=bucket, Key="x", Body=b"")
        proxy.instead = times(1, Answer(503), "HEAD")
        client.head_object(Bucket=bucket, Key="x")
        proxy.instead = times(1, refusal(400, "RequestLimitExceeded"), "GET")
        client.get_bucket_acl(Bucket=bucket)
        assert counts.snapshot() == {"throttled_requests": {"put": 2, "head": 1, "other": 1}}

    def test_counts_no_other_errors(self, proxy: ScriptedProxy) -> None:
        counts = Counts()
        client = make_client("s3", AwsOptions(proxy.endpoint), counts)
        proxy.instead = times(1, Answer(500), "GET")
        client.list_buckets()
        with pytest.raises(ClientError):
            client.head_bucket(Bucket="nobody-has-this")
        assert counts.snapshot() == {}

    def test_gives_up_after_its_attempts(self, proxy: ScriptedProxy) -> None:
        client = make_client("s3", AwsOptions(proxy.endpoint, attempts=2), Counts())
        proxy.instead = times(9, refusal(503, "SlowDown"), "GET")
        with pytest.raises(Throttled), translate_errors("s3"):
            client.list_buckets()
        assert proxy.methods() == ["GET", "GET"]

    def test_works_for_sqs(self) -> None:
        client = make_client("sqs", AwsOptions(moto_server().endpoint), Counts())
        assert client.create_queue(QueueName="jobs")["QueueUrl"].endswith("/jobs")


LATER = ("LoginError", "UnknownTokenProviderError", "UnsupportedServiceProtocolsError")
"""What botocore 1.36.0 has not."""


def test_the_oldest_botocore_will_do() -> None:
    code = (
        "from botocore import exceptions\n"
        f"for name in {LATER}: delattr(exceptions, name) if hasattr(exceptions, name) else None\n"
        "import watcher.aws.errors"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_boto3_is_not_loaded_before_a_client_is_made() -> None:
    modules = "{'boto3', 'botocore', 'urllib3'}"
    code = f"import sys, watcher.aws.clients, watcher.stores; sys.exit(bool({modules} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
