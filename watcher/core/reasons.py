"""Why images are rejected. Error records, logs, metrics and the runbook name no other reason than these."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an image can never work. The value stands in error records, log lines and metric labels.

    A new member needs a row in the table of `docs/runbook.md`, and `make reference` for `docs/metrics.md`.
    """

    stage: str
    """The stage of `protocol.STAGES` that metrics count the rejection under."""
    meaning: str
    """One sentence for the reader of the runbook."""

    def __new__(cls, value: str, stage: str = "", meaning: str = "") -> Reason:
        member = str.__new__(cls, value)
        member._value_, member.stage, member.meaning = value, stage, meaning
        return member

    NOT_A_PICTURE = "not_a_picture", "decode", "The file is empty or in no known picture format."
    TRUNCATED = "truncated", "decode", "The file ends early or is damaged."
    UNSUPPORTED = "unsupported", "decode", "The picture's format or variant is not supported."
    TOO_LARGE = "too_large", "decode", "The picture has more pixels, or the file more bytes, than the limit."
    PICTURE = "picture", "decode", "The picture cannot be decoded, and no other reason says why."
    DECODE_TIMEOUT = (
        "decode_timeout",
        "decode",
        "Decoding took longer than `--decode-timeout`, also when no other image was decoded beside it.",
    )
    DEVICE_MEMORY = "device_memory", "infer", "The picture does not fit into the device's memory, even alone."
    KILLS_WORKER = "kills_worker", "infer", "A worker died three times while this image was the only one it processed."
    UNREADABLE = "unreadable", "read", "The user that alphadrop runs as may not read the file."
    IS_DIRECTORY = "is_directory", "read", "A directory has taken the place of the image."
    ARCHIVED = "archived", "read", "The object is in an archive storage class and must be restored first."
    BAD_NAME = "bad_name", "put", "The output's name is not allowed in the sink."
    NAME_TOO_LONG = "name_too_long", "put", "The output's name is longer than the sink allows."
    OUTPUT_EXISTS = "output_exists", "put", "A file that alphadrop did not write is where the output must go."
    OUTPUT_TAKEN = "output_taken", "put", "Another image, or an image of another source, already has this output name."
    OUTPUT_OUTSIDE = "output_outside", "put", "A symlink leads from the output's folder out of the sink."
    OUTPUT_IS_DIRECTORY = "output_is_directory", "put", "A directory is where the output must go."
    OUTPUT_BLOCKED = "output_blocked", "put", "A file is where one of the output's folders must go."
    OUTPUT_DOES_NOT_FIT = "output_does_not_fit", "encode", "The output exceeds what its format or max_bytes allows."
    OTHER = "other", "other", "The image was rejected by a version of alphadrop that has other reasons."

    @classmethod
    def parse(cls, text: str) -> Reason:
        """The member with this value; OTHER if there is none."""
        try:
            return cls(text)
        except ValueError:
            return cls.OTHER
