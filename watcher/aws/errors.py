"""What boto3 raises, as one of ours. Every message says what to do, and none holds a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from watcher.core.errors import ConfigurationError, Denied, SourceMissing, Throttled, Unavailable, WatcherError

_LONGEST = 300
_USERINFO = re.compile(r"(?<=//)[^/\s@]*@")

_THROTTLES = frozenset(
    {
        "BandwidthLimitExceeded",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
_RENEW = "renew the credentials"
_CHECK_KEYS = "check access key and secret, and that they belong to this endpoint"
_ALLOW = "allow it in the policy of the user, role or bucket"
_CLOCK = "this machine's clock is off, set it by NTP"
_SIGN_UP = "see to the account's standing"
_DENIALS = {
    "AccessDenied": _ALLOW,
    "AccessDeniedException": _ALLOW,
    "AllAccessDisabled": _SIGN_UP,
    "AccountProblem": _SIGN_UP,
    "AuthFailure": _CHECK_KEYS,
    "AuthorizationHeaderMalformed": "the region may be another one, set it",
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "IncompleteSignature": _CHECK_KEYS,
    "InvalidAccessKeyId": _CHECK_KEYS,
    "InvalidClientTokenId": _CHECK_KEYS,
    "InvalidSecurity": _CHECK_KEYS,
    "InvalidToken": _RENEW,
    "MissingAuthenticationToken": _CHECK_KEYS,
    "NotSignedUp": _SIGN_UP,
    "OptInRequired": _SIGN_UP,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _CHECK_KEYS,
    "TokenRefreshRequired": _RENEW,
    "UnrecognizedClientException": _CHECK_KEYS,
}


def _known(*names: str) -> list[type[Exception]]:
    """Errors that not every botocore since 1.36.0 has: those that this one has."""
    return [getattr(boto, name) for name in names if hasattr(boto, name)]


_MISSING_CREDENTIALS = (
    "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, "
    "or give this machine a role"
)
_LOG_IN = "the login has run out or does not suffice: log in again"
_CREDENTIALS: dict[type[Exception], str] = {
    boto.NoCredentialsError: _MISSING_CREDENTIALS,
    boto.NoAuthTokenError: _MISSING_CREDENTIALS,
    boto.PartialCredentialsError: "half of the credentials is missing: set the key id and the secret, both or neither",
    boto.TokenRetrievalError: _LOG_IN,
    boto.SSOError: _LOG_IN,
    **dict.fromkeys(_known("LoginError"), _LOG_IN),  # since botocore 1.41
    boto.CredentialRetrievalError: "the source of the credentials has failed: try it by hand",
    boto.MetadataRetrievalError: "this machine's role cannot be asked for credentials: see that one is attached",
    boto.RefreshWithMFAUnsupportedError: "these credentials need a second factor, which nobody can type: take others",
}
"""Their own texts are not repeated: some hold what a credential process has printed."""

_SETTINGS: tuple[type[Exception], ...] = (
    boto.ApiVersionNotFoundError,
    boto.BaseEndpointResolverError,
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.DataNotFoundError,
    boto.EndpointProviderError,
    boto.InvalidChecksumConfigError,
    boto.InvalidConfigError,
    boto.InvalidDNSNameError,
    boto.InvalidDefaultsMode,
    boto.InvalidEndpointConfigurationError,
    boto.InvalidEndpointDiscoveryConfigurationError,
    boto.InvalidHostLabelError,
    boto.InvalidIMDSEndpointError,
    boto.InvalidIMDSEndpointModeError,
    boto.InvalidProxiesConfigError,
    boto.InvalidRetryConfigurationError,
    boto.InvalidS3AddressingStyleError,
    boto.InvalidS3UsEast1RegionalEndpointConfigError,
    boto.InvalidSTSRegionalEndpointsConfigError,
    boto.MissingDependencyException,
    boto.MissingParametersError,
    boto.ParamValidationError,  # a bucket's name: the store keeps from boto3 every key that it would refuse
    boto.ProfileNotFound,
    boto.ServiceNotInRegionError,
    boto.UnknownCredentialError,
    boto.UnknownRegionError,
    boto.UnknownSignatureVersionError,
    boto.UnsupportedS3AccesspointConfigurationError,
    boto.UnsupportedS3ArnError,
    boto.UnsupportedS3ConfigurationError,
    boto.UnsupportedSignatureVersionError,
    boto.ValidationError,
    *_known("UnsupportedServiceProtocolsError", "UnknownTokenProviderError"),  # later than botocore 1.36.5 and 1.43.1
)
"""What waiting does not mend."""
_WORLD = (boto.BotoCoreError, ResponseParserError, HTTPError, OSError)
_CURES: dict[type[Exception], str] = {
    boto.NoRegionError: "set the region",
    boto.ProfileNotFound: "name another profile, or add it to the shared configuration",
    boto.SSLError: "check the certificate and the address, or set AWS_CA_BUNDLE to the authority's certificate",
    boto.EndpointConnectionError: "check the address, and that the service runs",
    boto.ConnectTimeoutError: "check the address and the firewalls on the way",
    boto.ProxyConnectionError: "check the proxy's address",
}


def translate(error: Exception, what: str) -> WatcherError | None:
    """The error as one of ours; None for what does not come from boto3, and for what is ours already."""
    if isinstance(error, boto.ClientError):
        return _of_answer(error.response, what)
    for kind, cure in _CREDENTIALS.items():
        if isinstance(error, kind):
            return Denied(f"{what}: {cure}", public=cure)
    if isinstance(error, _SETTINGS):
        return ConfigurationError(_sentence(what, error))
    return Unavailable(_sentence(what, error), public=_cure(error)) if isinstance(error, _WORLD) else None


def is_throttle(answer: Mapping[str, Any]) -> bool:
    """Whether a parsed answer asks for fewer requests."""
    return status_of(answer) in (429, 503) or _is_throttle_code(code_of(answer))


def code_of(answer: Mapping[str, Any]) -> str:
    """The error's code; the status where an answer had no body, "" for no error."""
    return str(answer.get("Error", {}).get("Code") or "")


def status_of(answer: Mapping[str, Any]) -> int:
    """The HTTP status; 0 for no answer."""
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _of_answer(answer: Mapping[str, Any], what: str) -> WatcherError:
    code, status = code_of(answer), status_of(answer)
    brief, message = _brief(code, status), answer.get("Error", {}).get("Message")
    text = f"{what}: {brief}" + (f": {_clean(message)}" if message else "")
    if is_throttle(answer):
        return Throttled(f"{text}; trying again more slowly", public=brief)
    if code in _DENIALS or code.startswith("KMS.") or status in (401, 403):
        cure = _DENIALS.get(code, _ALLOW)
        return Denied(f"{text}; {cure}", public=f"{brief}; {cure}")
    if code == "NoSuchBucket":
        missing = "the bucket does not exist; create it, or correct its name, endpoint or region"
        return SourceMissing(f"{what}: {missing}", public=missing)
    return Unavailable(text, public=brief)


def _brief(code: str, status: int) -> str:
    """What the service answers, without its message: that one may name the object."""
    number = "" if str(status) in ("0", code) else f" ({status})"
    return f"the service answers {code or status}{number if code else ''}"


def _is_throttle_code(code: str) -> bool:
    return code in _THROTTLES or "Throttl" in code


def _sentence(what: str, error: Exception) -> str:
    cure = _cure(error)
    return f"{what}: {_clean(error)}" + (f"; {cure}" if cure else "")


def _cure(error: Exception) -> str:
    return next((cure for kind, cure in _CURES.items() if isinstance(error, kind)), "")


def _clean(text: object) -> str:
    """One line without user names and passwords in addresses."""
    return _USERINFO.sub("", " ".join(str(text).split()))[:_LONGEST].rstrip(".")
