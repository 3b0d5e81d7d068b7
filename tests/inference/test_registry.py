"""The registry loads each version once, if it can be served."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import EngineFault, NotFound, NotReady, VersionError
from service.inference.registry import LoadedVersion, Registry
from service.inference.repository import Repository
from service.inference.scheduling.scheduler import Scheduler
from tests.support.fakes import FakeClock, FakeEngine, manifest_of, put_version, unit_vectors


def registry_of(models, engines, history_vectors=1000):
    def scheduler(engine, _version):
        return Scheduler(engine, FakeClock(), max_batch=8, prefill_chunk=4, queue_limit=8)

    return Registry(
        Repository(models, "next-vector"),
        lambda files: engines[files.manifest.version],
        scheduler,
        history_vectors,
    )


async def test_a_version_is_loaded_and_warmed_up_once(tmp_path):
    """A second call changes nothing."""
    put_version(tmp_path, "phase-2")
    engine = FakeEngine()
    registry = registry_of(tmp_path, {"phase-2": engine})
    await registry.prepare("phase-2")
    warm_up = len(engine.batches)
    await registry.prepare("phase-2")
    assert warm_up == len(engine.batches) > 0
    assert registry.get("phase-2").manifest.version == "phase-2"
    assert registry.available() == {"phase-2"}
    await registry.close()


async def test_a_version_that_is_not_loaded_is_not_found(tmp_path):
    put_version(tmp_path, "phase-2")
    with pytest.raises(NotFound):
        registry_of(tmp_path, {}).get("phase-2")


async def test_a_window_longer_than_the_kept_history_is_refused(tmp_path):
    """Its sessions could not be recomputed from their history."""
    put_version(tmp_path, "phase-3", window=1000)
    registry = registry_of(tmp_path, {"phase-3": FakeEngine()}, history_vectors=500)
    with pytest.raises(VersionError, match="history_vectors"):
        await registry.prepare("phase-3")


@pytest.mark.parametrize(("poison", "faults"), [(True, []), (False, [EngineFault("no memory")])])
async def test_a_version_that_fails_its_warm_up_is_not_kept(tmp_path, poison, faults):
    """It never serves a request."""
    put_version(tmp_path, "phase-2")
    engine = FakeEngine()
    engine.poison, engine.faults = poison, list(faults)
    registry = registry_of(tmp_path, {"phase-2": engine})
    with pytest.raises(VersionError, match="phase-2 cannot be loaded"):
        await registry.prepare("phase-2")
    assert registry.loaded == ()


async def test_an_unloaded_version_is_not_found_and_can_be_loaded_again(tmp_path):
    """Jobs that wait for it are refused."""
    put_version(tmp_path, "phase-2")
    engine = FakeEngine()
    registry = registry_of(tmp_path, {"phase-2": engine})
    await registry.prepare("phase-2")
    before = registry.get("phase-2").scheduler
    await registry.unload("phase-2")
    with pytest.raises(NotFound):
        registry.get("phase-2")
    with pytest.raises(NotFound):
        await registry.unload("phase-2")
    with pytest.raises(NotReady):
        await before.submit(unit_vectors(1), None)
    await registry.prepare("phase-2")
    assert (await registry.get("phase-2").scheduler.submit(unit_vectors(1), None)).vector.any()
    await registry.close()


async def test_an_unload_waits_for_the_requests_in_progress(tmp_path):
    """New requests no longer find the version, and those that use it get their answers."""
    put_version(tmp_path, "phase-2")
    registry = registry_of(tmp_path, {"phase-2": FakeEngine()})
    await registry.prepare("phase-2")
    scheduler = registry.get("phase-2").scheduler
    scheduler.enter()
    unloading = asyncio.create_task(registry.unload("phase-2"))
    await asyncio.sleep(0.01)
    with pytest.raises(NotFound):
        registry.get("phase-2")
    assert (await scheduler.submit(unit_vectors(1), None)).vector.any()
    assert not unloading.done()
    scheduler.leave()
    await unloading
    with pytest.raises(NotReady):
        await scheduler.submit(unit_vectors(1), None)


def test_a_versions_digest_covers_all_its_graphs():
    """States kept from one export are not used with another one."""

    def digest(**files):
        manifest = manifest_of("a", 8, "").model_copy(update={"files": files})
        return LoadedVersion(manifest, "none", "fp32", None).digest

    same = digest(model="1", step="2")
    assert same == digest(step="2", model="1")
    assert same not in {digest(model="1", step="3"), digest(model="3", step="2"), digest(model="1")}
