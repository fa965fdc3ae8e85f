"""dm2.devices, and learners on another device than the CPU: the same numbers as on it, and no tensor left behind.

Where there is no GPU, `far_device` stands in for one.
"""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from far_device import FAR, FarDevice
from test_seed_groups import StopAt, group, runs_in
from test_training import real_run, rows_of

from dm2 import devices, training
from dm2.config import RunSettings
from dm2.demonstrations import Demonstrations
from dm2.devices import choose_device
from dm2.errors import UserError
from dm2.experiments import merge
from dm2.storage import RunDirectory, load_tensors
from dm2.training import RunToTrain, TrainingInterrupted, train_group

SMALL = {
    "env_steps": 400,
    "evaluation_interval": 200,
    "evaluation_episodes": 1,
    "policy_percents": (100,),
}
SMALL_ALGORITHMS = {
    "ippo": {"episodes_per_update": 5, "ppo_epochs": 2, "hidden_size": 8},
    "qmix": {"n_battles": 5, "gradient_steps": 1, "batch_episodes": 5, "hidden_size": 8, "target_update_episodes": 5},
    "rmappo": {"n_battles": 5, "steps_per_update": 150, "ppo_epochs": 2, "hidden_size": 8},
}


def small_seeds(condition: str) -> tuple[list[RunSettings], Demonstrations | None]:
    settings, archive = real_run(condition)
    own = {settings.algorithm: SMALL_ALGORITHMS[settings.algorithm]}
    values = merge(settings.model_dump(exclude_none=True), SMALL | own)
    return [RunSettings(**{**values, "seed": seed}) for seed in (3, 4)], archive


def close_to(run: RunDirectory, other: RunDirectory) -> None:
    """The results are equal but for rounding."""
    rows, expected = rows_of(run.metrics), rows_of(other.metrics)
    assert len(rows) == len(expected) >= 3
    for row, wanted in zip(rows, expected, strict=True):
        assert row.keys() == wanted.keys()
        for name, value in wanted.items():
            if name in ("backend", "map_name", "condition") or not value:
                assert row[name] == value
            else:
                assert float(row[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), name
    tensors, wanted_tensors = (load_tensors(one.policy(100), kind="policy")[0] for one in (run, other))
    for name, tensor in wanted_tensors.items():
        torch.testing.assert_close(
            tensors[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("device", ["far", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("condition", ["dm2_ippo_demo", "dm2_sil", "open_loop", "ippo_bc_pretrain", "qmix", "rmappo"])
def test_a_group_trains_there_as_on_the_cpu(
    condition: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, archive = small_seeds(condition)
    train_group(group(tmp_path / "cpu", settings), demonstrations=archive)
    if device == "far":
        monkeypatch.setattr(training, "choose_device", lambda *arguments: FAR)
    runs = runs_in(tmp_path / device, settings)
    stopping = [RunToTrain(settings[0], runs[0].path, on_evaluation=StopAt(2)), *group(tmp_path / device, settings[1:])]
    with FarDevice() if device == "far" else nullcontext():
        with pytest.raises(TrainingInterrupted):
            train_group(stopping, demonstrations=archive, device=device)
        train_group(group(tmp_path / device, settings), demonstrations=archive, device=device)
    for run, other in zip(runs, runs_in(tmp_path / "cpu", settings), strict=True):
        close_to(run, other)
    assert json.loads(runs[0].record.read_text())["device"] == (
        FAR.type if device == "far" else torch.cuda.get_device_name()
    )
    assert json.loads(other.record.read_text())["device"] == "cpu"


def test_the_stand_in_refuses_tensors_of_two_devices() -> None:
    with FarDevice():
        far = torch.ones(3).to(FAR)
        assert (far + far).cpu().tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(RuntimeError, match=r"found tensors \[\[3\]\] of the device and \[\[3\]\] of the CPU"):
            far + torch.ones(3)
        with pytest.raises((RuntimeError, TypeError)):
            far.numpy()


# --- the choice ---------------------------------------------------------------------------------------------------


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.torch.version, "cuda", "13.0")
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize(
    ("wanted", "n_seeds", "learner_on_gpu", "expected"),
    [
        ("cpu", 5, True, "cpu"),
        ("cuda", 1, True, "cuda"),
        ("auto", 1, True, "cpu"),
        ("auto", 2, True, "cuda"),
        ("auto", 5, False, "cpu"),
    ],
)
def test_auto_takes_a_gpu_for_several_seeds(
    with_cuda: None, wanted: str, n_seeds: int, learner_on_gpu: bool, expected: str
) -> None:
    assert choose_device(wanted, n_seeds, learner_on_gpu).type == expected


@pytest.mark.parametrize(
    ("build", "available", "learner_on_gpu", "message"),
    [
        (None, False, True, r"device cuda: found torch \S+, a build without CUDA, expected one with"),
        (
            "13.0",
            False,
            True,
            r"device cuda: found no GPU that CUDA 13.0 can use, expected one: see what nvidia-smi says",
        ),
        ("13.0", True, False, r"device cuda: found a learner that trains on the CPU alone, expected one that"),
    ],
)
def test_a_gpu_that_cannot_be_had_is_refused_and_auto_does_without(
    monkeypatch: pytest.MonkeyPatch, build: str | None, available: bool, learner_on_gpu: bool, message: str
) -> None:
    monkeypatch.setattr(devices.torch.version, "cuda", build)
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: available)
    with pytest.raises(UserError, match=message):
        choose_device("cuda", 5, learner_on_gpu)
    assert choose_device("auto", 5, learner_on_gpu).type == "cpu"


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UserError, match="device: found 'gpu', expected one of auto, cpu, cuda"):
        choose_device("gpu", 1, True)
