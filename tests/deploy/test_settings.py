"""What stands in ConfigMaps and command lines is what the real settings and the real CLI take."""

from __future__ import annotations

import pytest

from scripts.manifests import OVERLAYS, overlay
from tests.deploy.overlays import WRITTEN_BY_LIBRARIES, Pods, all_pods, pods_of
from watcher.config.load import unknown_variables
from watcher.config.preflight import check_settings
from watcher.core.jobs import Mode
from watcher.fleet.devices import expand_devices
from watcher.queues.brokers.address import AmqpAddress, SqsAddress, parse_address

EVERY = [pytest.param(pods, id=name) for name, pods in all_pods()]


@pytest.mark.parametrize("pods", EVERY)
def test_settings_are_complete_and_known(pods: Pods):
    settings = pods.settings()
    assert unknown_variables(pods.environment) == []
    assert settings.log_format == "json"
    if settings.source_path is None:
        check_settings(settings, Mode(pods.command))


@pytest.mark.parametrize("pods", EVERY)
def test_a_wrong_setting_would_be_noticed(pods: Pods):
    container = pods.container | {"env": [*pods.container["env"], {"name": "ALPHADROP_DRAIN", "value": "soon"}]}
    spec = pods.spec | {"containers": [container]}
    broken = pods.manifest | {"spec": pods.manifest["spec"] | {"template": {"spec": spec}}}
    with pytest.raises(Exception, match="ALPHADROP_DRAIN"):
        Pods(broken, pods.objects).settings()


@pytest.mark.parametrize("pods", EVERY)
def test_a_broker_is_named_where_the_halves_are_apart(pods: Pods):
    queue = pods.settings().queue
    assert bool(queue) is (pods.command != "run")
    if queue:
        assert isinstance(parse_address(queue), SqsAddress | AmqpAddress)


@pytest.mark.parametrize("name", [name for name in OVERLAYS if pods_of(overlay(name))])
def test_all_pods_of_an_overlay_agree_on_what_decides_whose_an_output_is(name: str):
    found = [pods.settings() for pods in pods_of(overlay(name))]
    assert (
        len({(s.source, s.sink, s.queue, s.model, s.canvas, s.outputs, s.png_level, s.input_alpha) for s in found}) == 1
    )


@pytest.mark.parametrize("pods", EVERY)
def test_every_path_that_settings_write_is_a_volume(pods: Pods):
    settings = pods.settings()
    paths = [str(path) for path in (settings.state_path, settings.sink_path) if path]
    paths += ["/tmp", *(pods.environment[name] for name in WRITTEN_BY_LIBRARIES)]
    assert [path for path in paths if not pods.may_write(path)] == []


@pytest.mark.parametrize("pods", EVERY)
def test_every_path_that_settings_read_is_a_volume(pods: Pods):
    settings, environment = pods.settings(), pods.environment
    paths = [str(settings.source_path)] if settings.source_path else []
    paths += [environment[name] for name in ("ALPHADROP_CONFIG", "AWS_SHARED_CREDENTIALS_FILE") if name in environment]
    assert [path for path in paths if pods.mount_of(path) is None] == []


@pytest.mark.parametrize("pods", EVERY)
def test_the_devices_of_the_settings_are_the_gpus_of_the_limit(pods: Pods):
    devices = expand_devices(pods.settings().devices, count=lambda: 0)
    if pods.command == "watch":
        assert pods.gpus == 0
    elif pods.gpus:
        assert devices == [f"cuda:{index}" for index in range(pods.gpus)]  # `auto` would fall back on the CPU in secret
    else:
        assert set(devices) == {"cpu"}


@pytest.mark.parametrize("pods", EVERY)
def test_the_time_to_finish_ends_before_the_pod_is_killed(pods: Pods):
    assert pods.spec["terminationGracePeriodSeconds"] >= pods.settings().drain + 10


@pytest.mark.parametrize("pods", EVERY)
def test_the_server_listens_on_the_port_that_is_named_for_everybody(pods: Pods):
    assert pods.settings().http_address == ("0.0.0.0", pods.container["ports"][0]["containerPort"])


@pytest.mark.parametrize("pods", EVERY)
def test_no_password_stands_in_the_settings(pods: Pods):
    secret = {"AWS_SECRET_ACCESS_KEY", "ALPHADROP_EVENTS_TOKEN"}
    if pods.settings().queue.startswith("amqp"):
        secret |= {"ALPHADROP_QUEUE"}  # its address holds one
    assert secret & pods.environment.keys() == set()
