"""Translates what boto3 raises into our errors. Every message says what to do; none holds a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from watcher.core.errors import ConfigurationError, Denied, SourceMissing, Throttled, Unavailable, WatcherError

_MAX_TEXT = 300
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
_CLOCK = "this machine's clock is wrong: set it, for example by NTP"
_SIGN_UP = "check the account: it is not signed up, or suspended"
_DENIALS = {
    "AccessDenied": _ALLOW,
    "AccessDeniedException": _ALLOW,
    "AllAccessDisabled": _SIGN_UP,
    "AccountProblem": _SIGN_UP,
    "AuthFailure": _CHECK_KEYS,
    "AuthorizationHeaderMalformed": "the region may be wrong: set it",
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
    """The errors with these names that this botocore has; not every version since 1.36.0 has all."""
    return [getattr(boto, name) for name in names if hasattr(boto, name)]


_MISSING_CREDENTIALS = (
    "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, "
    "or give this machine a role"
)
_LOG_IN = "the login has expired or has too few rights: log in again"
_CREDENTIALS: dict[type[Exception], str] = {
    boto.NoCredentialsError: _MISSING_CREDENTIALS,
    boto.NoAuthTokenError: _MISSING_CREDENTIALS,
    boto.PartialCredentialsError: "half of the credentials is missing: set both the key id and the secret, or neither",
    boto.TokenRetrievalError: _LOG_IN,
    boto.SSOError: _LOG_IN,
    **dict.fromkeys(_known("LoginError"), _LOG_IN),  # since botocore 1.41
    boto.CredentialRetrievalError: "the credential source failed: try it by hand",
    boto.MetadataRetrievalError: "this machine's role gives no credentials: check that a role is attached",
    boto.RefreshWithMFAUnsupportedError: "these credentials need a second factor, which a daemon has not: use others",
}
"""The errors' own texts are left out: some hold the output of a credential process."""

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
    boto.ParamValidationError,  # a bucket's name: the store checks keys itself
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
    *_known("UnsupportedServiceProtocolsError", "UnknownTokenProviderError"),  # since botocore 1.36.6 and 1.43.2
)
"""Errors that waiting does not fix."""
_TRANSIENT = (boto.BotoCoreError, ResponseParserError, HTTPError, OSError)
_REMEDIES: dict[type[Exception], str] = {
    boto.NoRegionError: "set the region",
    boto.ProfileNotFound: "name another profile, or add it to the shared configuration",
    boto.SSLError: "check the certificate and the address, or set AWS_CA_BUNDLE to the authority's certificate",
    boto.EndpointConnectionError: "check the address, and that the service runs",
    boto.ConnectTimeoutError: "check the address and the firewalls on the way",
    boto.ProxyConnectionError: "check the proxy's address",
}


def translate(error: Exception, what: str) -> WatcherError | None:
    """Translate an error; None if it does not come from boto3, or is one of ours already. `what` starts the message."""
    if isinstance(error, boto.ClientError):
        return _of_answer(error.response, what)
    for kind, remedy in _CREDENTIALS.items():
        if isinstance(error, kind):
            return Denied(f"{what}: {remedy}", public=remedy)
    if isinstance(error, _SETTINGS):
        return ConfigurationError(_sentence(what, error))
    return Unavailable(_sentence(what, error), public=_remedy(error)) if isinstance(error, _TRANSIENT) else None


def is_throttle(answer: Mapping[str, Any]) -> bool:
    """Whether a parsed answer asks for fewer requests."""
    return status_of(answer) in (429, 503) or _is_throttle_code(code_of(answer))


def code_of(answer: Mapping[str, Any]) -> str:
    """The error's code; the status if the answer had no body, "" if there is no error."""
    return str(answer.get("Error", {}).get("Code") or "")


def status_of(answer: Mapping[str, Any]) -> int:
    """The HTTP status; 0 if there was no answer."""
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _of_answer(answer: Mapping[str, Any], what: str) -> WatcherError:
    code, status = code_of(answer), status_of(answer)
    brief, message = _brief(code, status), answer.get("Error", {}).get("Message")
    text = f"{what}: {brief}" + (f": {_clean(message)}" if message else "")
    if is_throttle(answer):
        return Throttled(f"{text}; trying again more slowly", public=brief)
    if code in _DENIALS or code.startswith("KMS.") or status in (401, 403):
        remedy = _DENIALS.get(code, _ALLOW)
        return Denied(f"{text}; {remedy}", public=f"{brief}; {remedy}")
    if code == "NoSuchBucket":
        missing = "the bucket does not exist; create it, or correct its name, endpoint or region"
        return SourceMissing(f"{what}: {missing}", public=missing)
    return Unavailable(text, public=brief)


def _brief(code: str, status: int) -> str:
    """The service's answer without its message, which may name the object."""
    number = "" if str(status) in ("0", code) else f" ({status})"
    return f"the service answers {code or status}{number if code else ''}"


def _is_throttle_code(code: str) -> bool:
    return code in _THROTTLES or "Throttl" in code


def _sentence(what: str, error: Exception) -> str:
    remedy = _remedy(error)
    return f"{what}: {_clean(error)}" + (f"; {remedy}" if remedy else "")


def _remedy(error: Exception) -> str:
    return next((remedy for kind, remedy in _REMEDIES.items() if isinstance(error, kind)), "")


def _clean(text: object) -> str:
    """One line, without the user names and passwords of addresses."""
    return _USERINFO.sub("", " ".join(str(text).split()))[:_MAX_TEXT].rstrip(".")
