"""What the API answers, as the OpenAPI document describes it. What is not known is null."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Pixels = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Schema(BaseModel):
    """Base of all schemas."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class Error(Schema):
    """One thing that is wrong."""

    title: str
    """A few words, the same each time."""
    code: str
    """A word for programs."""
    detail: str
    """What to do about it."""


class Errors(Schema):
    """The body of every answer that is no success."""

    errors: Annotated[list[Error], Field(min_length=1)]


class Output(Schema):
    """One output of an image."""

    name: str
    key: str
    """Its key in the sink."""
    url: str
    media_type: str
    width: Pixels | None
    height: Pixels | None
    bytes: Pixels | None


class Item(Schema):
    """One image."""

    id: str
    """The same for a key as long as the daemon exists."""
    key: str
    """Its key in the source."""
    name: str
    """Its path in its batch, or its whole key."""
    batch: str | None
    status: Literal["queued", "running", "done", "rejected"]
    reason: str | None
    """Why it was rejected, as a word."""
    message: str | None
    """Why it was rejected, and what to do about it."""
    outputs: list[Output]
    original: str
    """Where the image itself is served."""
    thumbnail: str
    """Where a small picture is served."""
    score: Annotated[float, Field(ge=0, le=1)] | None
    """How sure the matte is."""
    doubts: list[str]
    """Why the matte may be wrong."""
    model: str | None
    decision: Literal["accepted", "rejected"] | None
    """What a person decided about it."""
    created: Time | None
    finished: Time | None


class Items(Schema):
    """A part of the list of images."""

    items: list[Item]
    next: str | None
    """The cursor of the next part; null after the last one."""
    total: Pixels | None
    """How many images the whole list has."""


class Session(Schema):
    """Whether a browser is signed in."""

    signed_in: bool
    required: bool | None = None
    """Whether a token is needed at all."""


class Worker(Schema):
    """A worker process of this machine."""

    name: str
    state: Literal["starting", "ready", "draining", "failed", "stopped"]
    problem: str | None
    in_flight: Pixels | None
    """Images that it processes."""
    resident_bytes: Pixels | None


class Device(Schema):
    """A device that workers run on."""

    name: str
    model: str | None
    memory_used: Pixels | None
    memory_total: Pixels | None
    utilization: Annotated[float, Field(ge=0, le=1)] | None
    watts: float | None
    celsius: float | None


class Status(Schema):
    """What the daemon is doing."""

    version: str
    throughput: float | None
    """Images a second, over the last half minute."""
    backlog: Pixels | None
    """Images that are not finished."""
    seconds_to_drain: Pixels | None
    """Until they are, at this throughput."""
    workers: list[Worker]
    devices: list[Device]
    unready: dict[str, str]
    """Why the daemon is not ready, by part."""
    model: str
    strong: str | None
    models: list[str]
    """With which pictures can be made again."""
    presets: list[str]
    """In which pictures can be made again."""
    outputs: list[str]
    upload_limit: Pixels
    """Bytes of the largest upload."""
    failures: list[Item]
    """The last rejected images."""


class Result(Schema):
    """The picture of `/v1.0/removebg` as JSON."""

    result_b64: str
    foreground_top: Pixels
    foreground_left: Pixels
    foreground_width: Pixels
    foreground_height: Pixels


class RemovebgAnswer(Schema):
    """The answer of `/v1.0/removebg` with `Accept: application/json`."""

    data: Result
