"""Settings that must fit together, checked before the daemon starts."""

from pathlib import Path

import pytest

from watcher.config.load import load_settings
from watcher.config.preflight import check_settings
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode


class TestBuckets:
    """What must be so before the daemon starts, as far as addresses tell."""

    def check(self, source: str, sink: str, *args: str) -> str:
        try:
            check_settings(load_settings([source, sink, "--state", "state", *args], environ={}))
        except ConfigurationError as error:
            return str(error)
        return ""

    def test_two_prefixes_or_two_buckets_are_accepted(self) -> None:
        for source, sink in (
            ("s3://box/in", "s3://box/out"),
            ("s3://box", "s3://cup"),
            ("s3://box/in", "s3://box/in-out"),
        ):
            assert self.check(source, sink) == ""

    def test_a_bucket_and_a_folder_are_accepted(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert self.check("in", "s3://box/out") == self.check("s3://box/in", "out") == ""
        assert "does not exist" in self.check("none", "s3://box/out")

    def test_source_and_sink_must_not_be_the_same_prefix_or_contain_each_other(self) -> None:
        assert "are the same" in self.check("s3://box/x", "s3://box/x/")
        assert "--exclude-sink" in self.check("s3://box", "s3://box/out")
        assert self.check("s3://box", "s3://box/out", "--exclude-sink") == ""
        assert "is inside SINK" in self.check("s3://box/in", "s3://box", "--exclude-sink")

    def test_images_in_a_folder_are_never_tagged_moved_or_deleted(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert "--after needs a bucket" in self.check("in", "out", "--after", "delete")
        assert self.check("s3://box/in", "out", "--after", "move:done") == ""
        assert "choose another prefix" in self.check("s3://box/done/in", "out", "--after", "move:done")

    def test_images_must_not_be_moved_to_where_outputs_are(self) -> None:
        for prefix, sink in (("out", "out"), ("out/done", "out"), ("all", "all/out")):
            refused = self.check("s3://box/in", f"s3://box/{sink}", "--after", f"move:{prefix}")
            assert "over them" in refused

    def test_events_and_jobs_must_not_share_a_queue_that_would_fill_itself(self) -> None:
        refused = self.check("s3://box/in", "s3://box/out", "--events", "sqs://jobs", "--queue", "sqs://jobs")
        assert "use --events queue" in refused

    def test_the_address_of_a_queue_must_be_complete(self) -> None:
        for flag in ("--queue", "--events"):
            refused = self.check("s3://box/in", "s3://box/out", flag, "amqp://me:s3cr3t@rabbit/")
            assert refused.startswith(f"{flag}: ") and "queue=NAME" in refused and "s3cr3t" not in refused

    def test_a_webhook_needs_a_secret(self) -> None:
        places = ("s3://box/in", "s3://box/out", "--notify", "https://shop.example/hook")
        refused = self.check(*places)
        assert refused.startswith("--notify-secret: a webhook needs it") and "ALPHADROP_NOTIFY_SECRET" in refused
        short = self.check(*places, "--notify-secret", "s3cr3t")
        assert short.startswith("--notify-secret: the secret has fewer") and "s3cr3t" not in short
        assert self.check(*places, "--notify-secret", "0123456789abcdef") == ""

    def test_the_address_of_a_receiver_must_be_complete_and_not_alphadrops_own_queue(self) -> None:
        refused = self.check("s3://box/in", "s3://box/out", "--notify", "amqp://me:s3cr3t@rabbit/")
        assert refused.startswith("--notify: ") and "queue=NAME" in refused and "s3cr3t" not in refused
        own = self.check("s3://box/in", "s3://box/out", "--queue", "sqs://jobs", "--notify", "sqs://jobs")
        assert "name another one" in own

    def test_events_need_a_queue_or_a_token_and_a_port(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert "see --watch" in self.check("in", "out", "--events", "webhook", "--events-token", "x")
        once = load_settings(["s3://box/in", "out", "--events", "webhook"], environ={})
        check_settings(once, Mode.ONCE)
        assert "needs --queue" in self.check("s3://box/in", "out", "--events", "queue")
        assert "ALPHADROP_EVENTS_TOKEN" in self.check("s3://box/in", "out", "--events", "webhook")
        assert "--http" in self.check(
            "s3://box/in", "out", "--events", "webhook", "--events-token", "x", "--http", "off"
        )


class TestFolders:
    """What must be so before the daemon starts."""

    def check(self, source: str, sink: str, *args: str) -> str:
        """The complaint, or nothing; nothing is made by looking."""
        try:
            check_settings(load_settings([source, sink, "--state", "state", *args], environ={}))
        except ConfigurationError as error:
            return str(error)
        finally:
            assert not Path("state").exists()
        return ""

    @pytest.fixture(autouse=True)
    def source(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "file").touch()

    def test_the_sink_need_not_exist(self) -> None:
        assert self.check("in", "new/out") == ""
        assert not Path("new").exists()

    def test_the_source_must_exist_and_be_a_folder(self) -> None:
        assert "SOURCE" in (message := self.check("no", "out"))
        assert "does not exist" in message
        assert "is not a folder" in self.check("file", "out")

    def test_the_sink_must_be_a_path_where_a_folder_can_be_made(self) -> None:
        message = self.check("in", "file/out")
        assert "SINK" in message
        assert "file is not one" in message
        assert "choose another" in message

    def test_what_this_user_may_not_read_or_write_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)
        message = self.check("in", "out")
        assert "SOURCE" in message
        assert "SINK" in message
        assert "--state" in message
        assert message.count("permission") == 3

    def test_source_and_sink_must_not_be_the_same_folder(self) -> None:
        Path("link").symlink_to("in")
        for sink in ("in", "link", "in/deep/.."):
            assert "are the same folder" in self.check("in", sink)
        assert "are the same folder" in self.check("in", "in", "--exclude-sink")

    def test_the_sink_may_be_in_the_source_only_if_it_is_excluded(self) -> None:
        Path("link").symlink_to("in/deep")
        for sink in ("in/out", "in/deep/x/y", "link/out"):
            message = self.check("in", sink)
            assert "choose another folder" in message
            assert "--exclude-sink" in message
        assert self.check("in", "in/out", "--exclude-sink") == ""
        assert self.check("in", "in-out") == ""

    def test_the_source_must_not_be_in_the_sink(self) -> None:
        for args in ((), ("--exclude-sink",)):
            assert "is inside SINK" in self.check("in/deep", "in", *args)

    def test_the_state_folder_must_not_be_in_the_source(self) -> None:
        assert "--state" in self.check("in", "out", "--state", "in/state")
