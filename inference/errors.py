"""Everything that can go wrong between bytes in and a cut-out back.

    InferenceError
    ├── PictureError                    this picture can never work here; `reason` says why in one word
    │   ├── NotAPicture                 'not_a_picture'
    │   ├── TruncatedPicture            'truncated'
    │   ├── UnsupportedPicture          'unsupported'
    │   ├── PictureTooLarge             'too_large'
    │   └── PictureTooLargeForDevice    'device_memory'   (also an EngineError)
    └── EngineError                     the engine, not the picture
        ├── EngineClosed
        ├── DeviceLost
        ├── PictureTooLargeForDevice
        └── ModelError

A message says what is wrong and what to do about it.
"""

from typing import ClassVar


class InferenceError(Exception):
    """The root of the tree: catch this to catch all of it."""


class PictureError(InferenceError):
    """The picture is at fault: the same bytes will fail again, so do not retry them.

    `reason` is a short machine word for metrics and error records.
    """

    reason: ClassVar[str] = "picture"


class NotAPicture(PictureError):
    """The bytes are empty or of no picture format."""

    reason = "not_a_picture"


class TruncatedPicture(PictureError):
    """The data ends early or is damaged, so that not every pixel can be read."""

    reason = "truncated"


class UnsupportedPicture(PictureError):
    """A picture, but of a format or variant that is not read here."""

    reason = "unsupported"


class PictureTooLarge(PictureError):
    """The header promises more pixels than the limit."""

    reason = "too_large"


class EngineError(InferenceError):
    """The engine is at fault: the picture may work elsewhere or later."""


class EngineClosed(EngineError):
    """The engine was closed before it had taken or finished this picture; submit it to a new one."""


class DeviceLost(EngineError):
    """The device answered with an error that it does not recover from; end this process and start another."""


class PictureTooLargeForDevice(EngineError, PictureError):
    """Not even alone does the picture fit into the device's memory."""

    reason = "device_memory"


class ModelError(EngineError):
    """The weights are missing, unreadable or of another model; the message says what to do."""
