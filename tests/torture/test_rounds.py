"""Rounds of faults: whatever breaks, nothing is lost, half done, blamed or left behind. See docs/torture.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.equipment.daemon import Folders
from tests.torture.faults import FAULTS
from tests.torture.judge import Property
from tests.torture.mutations import MUTATIONS, Trial
from tests.torture.plans import Arrangement, Plan
from tests.torture.producer import Mixture
from tests.torture.rounds import play
from tests.torture.soak import soak
from tests.torture.system import Services, can_mount

pytestmark = [pytest.mark.torture, pytest.mark.slow, pytest.mark.timeout(7200)]

DISKS = Plan(1, Arrangement.RUN, ("sink full", "queue's disk full", "source unmounted"), changes=30, seconds=2)
SHORT = (
    Plan(2, Arrangement.RUN, ("kill at renamed", "second daemon", "no descriptors"), changes=30, seconds=2),
    Plan(
        3, Arrangement.RUN, ("clock set", "device full", "slow disk"), changes=30, seconds=2, together=True,
        two_outputs=True,
    ),
    Plan(4, Arrangement.ONCE, ("kill at put", "hang up"), changes=30, seconds=2, mixture=Mixture(poisoned=20)),
    Plan(5, Arrangement.FROM_BUCKET, ("S3 breaks", "device lost"), changes=20, seconds=1),
    Plan(6, Arrangement.AMQP_FOLDERS, ("broker breaks", "kill everything"), changes=20, seconds=1),
)  # fmt: skip
"""A few picked rounds, of which each family of faults has one."""
BURST = Plan(
    7, Arrangement.RUN, ("kill a worker", "kill everything", "slow disk"), model="fake", changes=100_000, seconds=0,
    mixture=Mixture(poisoned=1, replaced=1, deleted=1, slow=0), rescan=60.0, patience=3600.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services() as services:
        yield services


def hold(plan: Plan, top: Path, services: Services, figures: Callable[[str], None]) -> None:
    result = play(plan, top, services)
    assert not result.violations, str(result)
    figures(f"torture: {result}")


@pytest.mark.parametrize("plan", SHORT, ids=lambda plan: plan.arrangement.name.lower())
def test_whatever_breaks_every_property_holds(
    plan: Plan, tmp_path: Path, services: Services, request: pytest.FixtureRequest, figures: Callable[[str], None]
) -> None:
    if plan.arrangement is Arrangement.AMQP_FOLDERS:
        services.use_rabbit(request.getfixturevalue("rabbit"))
    hold(plan, tmp_path / "round", services, figures)


def test_disks_that_are_full_or_gone_lose_nothing(
    tmp_path: Path, services: Services, figures: Callable[[str], None]
) -> None:
    if not can_mount():
        pytest.skip("this user may not mount file systems: run as root for the faults of disks")
    hold(DISKS, tmp_path / "round", services, figures)


def test_the_picked_rounds_have_every_family_of_faults() -> None:
    families = {FAULTS[name].family for plan in (DISKS, *SHORT) for name in plan.faults}
    assert families == {fault.family for fault in FAULTS.values()}


def test_a_hundred_thousand_files_at_once_are_all_done(
    tmp_path: Path, services: Services, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    if not full_campaign:
        pytest.skip("takes half an hour: --campaign=full")
    hold(BURST, tmp_path / "round", services, figures)


def test_each_error_in_alphadrop_breaks_its_property_and_nothing_breaks_without(
    tmp_path: Path, services: Services, full_campaign: bool
) -> None:
    if not full_campaign:
        pytest.skip("takes minutes: make torture-mutations")
    assert Trial(tmp_path, services).run(jobs=2) == []
    assert {mutation.breaks for mutation in MUTATIONS} == set(Property)


def test_a_long_run_holds_no_more_than_a_short_one(
    folders: Folders, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    if not full_campaign:
        pytest.skip("takes an hour: make soak")
    result = soak(folders, 200_000)
    figures(str(result))
    assert not result.problems
