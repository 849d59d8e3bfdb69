"""The operator ends before each of its writes in turn; the next one brings the same end about.

An installation, the longest, is walked in two ways. A chain of operators, each of which ends
after a few writes, meets many states in between at the cost of one installation. Beside it,
installations that are cut off once are walked at every HATOBA_CHAOS_STEP-th write; 1 walks
them all, which takes minutes.
"""

import itertools
import os
from dataclasses import replace

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import REGISTRIES
from tests.operator.pictures import differences, kept_keys, picture
from tests.operator.staging import bundle
from tests.operator.weather import Calm, Death

from hatoba.cluster.objects import DEPLOYMENTS
from hatoba.kernel.errors import NotFound
from hatoba.operator import names
from hatoba.operator.model import Images
from hatoba.operator.replicas import replica_owners

STEP = int(os.environ.get("HATOBA_CHAOS_STEP", "11"))
pytestmark = [pytest.mark.api, pytest.mark.anyio, pytest.mark.timeout(240 if STEP > 4 else 1800)]

NEVER = 10_000
AT_LEAST = {"install": 60, "reconfigure": 5, "upgrade": 8, "delete": 3}
"""Writes that each phase is known to need: a walk that sees fewer does not walk."""


def assert_same(last, wanted, found):
    if found != wanted:
        pytest.fail(f"killed before write {last}:\n{differences(wanted, found)}")


async def removed(stage):
    await stage.world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await stage.live(Calm())
    await stage.clear()


async def test_an_installation_that_is_cut_off_at_any_write_ends_the_same(stage):
    wanted, seen = None, 0
    for last in (NEVER, *range(1, NEVER, STEP)):
        await stage.install()
        killed = await stage.brought_about(last)
        found = await picture(stage.world)
        wanted = wanted or found
        assert_same(last, wanted, found)
        await removed(stage)
        if last != NEVER and not killed:
            break
        seen = last
    assert seen > AT_LEAST["install"] - STEP


@pytest.mark.parametrize("writes", [6])
async def test_operators_that_end_after_a_few_writes_install_together(stage, writes):
    await stage.install()
    assert not await stage.live(Calm())
    wanted = await picture(stage.world)
    await removed(stage)
    await stage.install()
    lives, keys = 1, None
    while await stage.live(Death(writes + 1)):
        lives += 1
        kept = await kept_keys(stage.world)
        assert keys in (None, kept), "the keys were made anew"
        keys = kept
        # They are stored before anything uses them.
        assert keys is not None or await stage.world.names(DEPLOYMENTS) == []
    assert_same(f"{writes} further ones", wanted, await picture(stage.world))
    assert lives >= AT_LEAST["install"] / writes


async def test_a_reconfiguration_that_is_cut_off_at_any_write_ends_the_same(stage):
    await stage.install()
    await stage.live(Calm())
    keys = await kept_keys(stage.world)
    wanted, seen = None, 0
    for last, turn in zip((NEVER, *range(1, NEVER)), itertools.cycle("ab")):
        await bundle(stage.world, turn)
        killed = await stage.brought_about(last)
        found = [
            (a, b, text.replace(f"bundle-{turn}", "bundle"))
            for a, b, text in await picture(stage.world)
            if "bundle-" not in b
        ]
        wanted = wanted or found
        assert_same(last, wanted, found)
        if last != NEVER and not killed:
            break
        seen = last
    assert await kept_keys(stage.world) == keys
    assert seen >= AT_LEAST["reconfigure"]


async def test_operators_that_end_after_each_single_write_reconfigure_together(stage):
    """The number of pods is handed to the second manager on the way: in a write of its own."""
    pictures = []
    for policy in (Calm, lambda: Death(2)):
        await stage.install()
        await stage.live(Calm())
        mirror = await stage.world.get(DEPLOYMENTS, "quay-mirror")
        assert replica_owners(mirror) == {names.FIELD_MANAGER}
        await bundle(stage.world, "a")
        lives = 1
        while await stage.live(policy()):
            lives += 1
        mirror = await stage.world.get(DEPLOYMENTS, "quay-mirror")
        assert (replica_owners(mirror), mirror["spec"]["replicas"]) == ({names.SCALE_MANAGER}, 2)
        pictures.append(await picture(stage.world))
        await removed(stage)
    assert_same("each further one", *pictures)
    assert lives >= AT_LEAST["reconfigure"]


async def test_an_upgrade_that_is_cut_off_at_any_write_ends_the_same(stage):
    await stage.install()
    await stage.live(Calm())
    wanted, seen = None, 0
    for last, number in zip((NEVER, *range(1, NEVER)), itertools.count(7)):
        settings = replace(
            SETTINGS, quay_version=f"3.{number}.0", images=Images(quay=f"hatoba:3.{number}")
        )
        killed = await stage.brought_about(last, settings)
        found = [
            (a, b, text.replace(f"3.{number}", "3.N")) for a, b, text in await picture(stage.world)
        ]
        wanted = wanted or found
        assert_same(last, wanted, found)
        if last != NEVER and not killed:
            break
        seen = last
    assert seen >= AT_LEAST["upgrade"]


async def test_a_deletion_that_is_cut_off_at_any_write_leaves_nothing(stage):
    seen = 0
    before = await picture(stage.world)
    for last in range(1, NEVER):
        await stage.install()
        await stage.live(Calm())
        await stage.world.objects.delete(REGISTRIES, NAME, NAMESPACE)
        killed = await stage.brought_about(last)
        with pytest.raises(NotFound):
            await stage.world.registry()
        owned = [
            obj
            for obj in await picture(stage.world)
            if obj[0] == "Namespace" or "openshift-config" in obj[1]
        ]
        assert_same(last, before, owned)
        await stage.clear()
        if not killed:
            break
        seen = last
    assert seen >= AT_LEAST["delete"]
