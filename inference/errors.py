"""The exceptions of this package: everything that can go wrong from a file's bytes to its cut-out.

    InferenceError
    ├── PictureError                    this picture can never work; `reason` says why
    │   ├── NotAPicture                 'not_a_picture'
    │   ├── TruncatedPicture            'truncated'
    │   ├── UnsupportedPicture          'unsupported'
    │   ├── PictureTooLarge             'too_large'
    │   ├── OutputDoesNotFit            'output_does_not_fit'
    │   └── PictureTooLargeForDevice    'device_memory'   (also an EngineError)
    ├── BackgroundUnreadable            the background picture of an output cannot be read; a setting is wrong
    └── EngineError                     the engine is at fault; the picture may work elsewhere or later
        ├── EngineClosed
        ├── DeviceLost
        ├── DeviceFull                  other processes use the device's memory; try again later
        ├── PictureTooLargeForDevice
        └── ModelError

Messages are for people: they say what is wrong and what to do about it. Programs use the class, or `reason`.
"""

from typing import ClassVar


class InferenceError(Exception):
    """The base class of all exceptions of this package."""


class PictureError(InferenceError):
    """The picture is at fault: the same bytes will fail again, so do not retry them."""

    reason: ClassVar[str] = "picture"
    """A constant of each subclass, for error records, logs and metrics."""


class NotAPicture(PictureError):
    """The bytes are empty, or not in any known picture format."""

    reason = "not_a_picture"


class TruncatedPicture(PictureError):
    """The data is truncated or damaged, so that not every pixel can be decoded."""

    reason = "truncated"


class UnsupportedPicture(PictureError):
    """The bytes are a picture, but in a format or variant that is not supported."""

    reason = "unsupported"


class PictureTooLarge(PictureError):
    """The picture's header states more pixels than the limit allows."""

    reason = "too_large"


class OutputDoesNotFit(PictureError):
    """The output has more pixels than its format allows, or more bytes than its settings allow."""

    reason = "output_does_not_fit"


class BackgroundUnreadable(InferenceError):
    """The picture that an output has behind its object is missing or not readable: correct the output's settings."""


class EngineError(InferenceError):
    """The engine is at fault: the picture may work elsewhere or later."""


class EngineClosed(EngineError):
    """The engine has been closed and takes no more pictures; submit this one to a new engine."""


class DeviceLost(EngineError):
    """The device failed in a way from which a process cannot recover; end this process and start another."""


class DeviceFull(EngineError):
    """Other processes use so much of the device's memory that the picture does not fit at present; try again later."""


class PictureTooLargeForDevice(EngineError, PictureError):
    """The picture does not fit into the device's memory, even alone in a batch."""

    reason = "device_memory"


class ModelError(EngineError):
    """The model or the device is not available: files missing or unreadable, wrong contract, no such GPU."""
