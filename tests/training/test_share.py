"""Two processes train the network that one would have trained; their parts make the batch, their norms see all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from edgenas.errors import EdgenasError
from edgenas.networks.weights import save_weights, weights_sha256
from edgenas.records import FinalRun, Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.checkpoint import read
from edgenas.training.final import FinalPool, SeedTraining
from edgenas.training.loop import fresh_network
from edgenas.training.share import Share, WholeBatchNorm
from edgenas.training.teaching import TeacherAt
from edgenas.training.together import refuse_thin_batches
from edgenas.training.work import Workplace
from tests.networks.test_regularised import CELLS
from tests.tasks.test_faces import write_people
from tests.training.conftest import tiny

CPU = torch.device("cpu")
# 288 images: a last batch of 21, whose parts are 10 and 11.
RECIPE = Recipe(
    "test", 2, 89, 0.05, crop_padding=1, cutout=2, nesterov=True, ema=0.9, clip_norm=1.0, partial_batch=True
)
TOLERANCE = (
    2e-5  # of a weight, after 8 to 18 steps; 3e-7 was seen. Later a ReLU that opens a rounding earlier makes it more
)


def test_parts_make_the_batch_and_weigh_what_they_hold() -> None:
    rng = np.random.default_rng(0)
    for count, processes in [(8, 2), (9, 2), (3, 3), (128, 8), (131, 7)]:
        shares = [Share(rank, processes) for rank in range(processes)]
        rows = torch.arange(count)
        assert torch.equal(torch.cat([rows[share.part(count)] for share in shares]), rows)
        lengths = [len(rows[share.part(count)]) for share in shares]
        assert max(lengths) - min(lengths) <= 1
        losses = torch.from_numpy(rng.random(count))
        means = [share.weight(count) * losses[share.part(count)].mean() for share in shares]
        assert sum(means).item() / processes == pytest.approx(losses.mean().item())  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def together(digits: Task) -> Iterator[FinalPool]:
    with FinalPool(digits, 1, "cpu", processes=2, checkpoint_s=0.0) as pool:
        yield pool


def trained(
    pool: FinalPool, folder: Path, recipe: Recipe, teacher: TeacherAt | None = None
) -> tuple[FinalRun, dict[str, Tensor]]:
    item = SeedTraining(tiny(6, 4), recipe, 1, folder / "weights" / "a-0.safetensors", teacher=teacher)
    ((_, run),) = pool.runs([item])
    return run, load_file(item.weights)


def alone(
    task: Task, folder: Path, recipe: Recipe, teacher: TeacherAt | None = None
) -> tuple[FinalRun, dict[str, Tensor]]:
    item = SeedTraining(
        tiny(6, 4), recipe, 1, folder / "weights" / "a-0.safetensors", teacher=teacher, checkpoint_s=0.0
    )
    return item.run(Workplace(task, CPU)), load_file(item.weights)


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        msgspec.structs.replace(RECIPE, ema=None, flip=True, flips="independent", balance="sampling", batch_size=32),
    ],
    ids=["uneven parts", "drawn sides and classes"],
)
def test_two_processes_train_the_network_that_one_trains(
    recipe: Recipe, together: FinalPool, digits: Task, tmp_path: Path
) -> None:
    one, weights = alone(digits, tmp_path / "one", recipe)
    two, others = trained(together, tmp_path / "two", recipe)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():  # batch norm's statistics, too
        torch.testing.assert_close(others[name], tensor, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    assert (one.processes, two.processes) == (1, 2)
    assert two.test["accuracy"] == one.test["accuracy"]
    assert two.val["loss"] == pytest.approx(one.val["loss"], rel=1e-5)
    assert [look.epoch for look in two.curve] == [look.epoch for look in one.curve] == [1, 2]
    assert two.best_epoch == one.best_epoch
    seen = [read(tmp_path / name / "weights" / "a-0.checkpoint") for name in ("one", "two")]
    losses = [found.parts["epochs"].notes for found in seen if found is not None]  # of training, over all processes
    assert losses[1]["accuracy"] == pytest.approx(losses[0]["accuracy"])
    assert losses[1]["loss"] == pytest.approx(losses[0]["loss"], rel=1e-5)


def teacher_at(folder: Path, kind: str, task: Task) -> TeacherAt:
    """A network that knows nothing, or what something said about each image: either pulls the student from its labels."""
    if kind == "network":
        path = folder / "teacher.safetensors"
        save_weights(fresh_network(tiny(5, 4), 3, CPU), path)
        return TeacherAt(path, weights_sha256(path), 10, tiny(5, 4), task.preprocessing)
    path = folder / "outputs.npz"
    outputs = 5 * np.random.default_rng(0).standard_normal((len(task.train), 10)).astype(np.float32)
    np.savez(path, outputs=outputs, labels=task.train.labels)
    return TeacherAt(path, weights_sha256(path), 10)


@pytest.mark.parametrize("kind", ["network", "outputs"])
def test_a_teacher_teaches_every_process_its_part(kind: str, together: FinalPool, digits: Task, tmp_path: Path) -> None:
    teacher = teacher_at(tmp_path, kind, digits)
    recipe = msgspec.structs.replace(RECIPE, epochs=1, teacher="ab", teacher_weight=0.9, temperature=4.0)
    _, weights = alone(digits, tmp_path / "one", recipe, teacher)
    _, others = trained(together, tmp_path / "two", recipe, teacher)
    _, untaught = alone(digits, tmp_path / "untaught", msgspec.structs.replace(RECIPE, epochs=1))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    assert not all(torch.allclose(untaught[name], tensor, atol=1e-3) for name, tensor in weights.items())


def test_what_photographs_and_cells_need_is_drawn_for_the_whole_batch(
    together: FinalPool, digits: Task, tmp_path: Path
) -> None:
    """Crops of any size, mixed images, dropped paths; an auxiliary head, whose norms see the whole batch, too. In a network this
    deep a ReLU here and there opens a rounding earlier: gradients are compared as a whole (0.01 apart, others 0.5)."""
    keys = {"random_resized_crop": (0.5, 1.0), "mixup": 0.2, "cutmix": 1.0, "drop_path": 0.6, "auxiliary": 0.4}
    recipe = msgspec.structs.replace(RECIPE, epochs=2, lr=1e-6, clip_norm=None, **keys)
    items = [
        SeedTraining(CELLS, recipe, 1, tmp_path / name / "a-0.safetensors", checkpoint_s=0.0) for name in ("one", "two")
    ]
    items[0].run(Workplace(digits, CPU))
    list(together.runs(items[1:]))
    one, two = (found.parts["step"].tensors for item in items if (found := read(item.checkpoint)) is not None)
    assert any(name.startswith("network.head.") for name in one)
    assert one.keys() == two.keys()
    summed = [torch.cat([each[name].flatten() for name in one if name.startswith("momentum.")]) for each in (one, two)]
    assert (summed[1] - summed[0]).norm() < 0.05 * summed[0].norm()
    torch.testing.assert_close(
        two["network.head.features.2.running_mean"], one["network.head.features.2.running_mean"], rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
def test_what_a_loss_learns_along_is_learned_by_all_processes(tmp_path: Path) -> None:
    """A margin's centres, one for every person."""
    people = write_people(tmp_path, 12, each=4)
    faces = load_task(TaskSettings(str(people), "faces", image_size=28, settings={"far": 0.1}))
    network = msgspec.structs.replace(tiny(), head=faces.head, in_channels=1, image_size=28)
    recipe = Recipe("faces", 1, 9, 0.001, loss="arcface", partial_batch=True)
    seeds = [
        SeedTraining(network, recipe, 1, tmp_path / name / "a-0.safetensors", checkpoint_s=0.0)
        for name in ("one", "two")
    ]
    seeds[0].run(Workplace(faces, CPU))
    with FinalPool(faces, 1, "cpu", processes=2, checkpoint_s=0.0) as pool:
        list(pool.runs(seeds[1:]))
    one, two = (found.parts["step"].tensors for seed in seeds if (found := read(seed.checkpoint)) is not None)
    assert any(name.startswith("loss.") for name in one)
    assert one.keys() == two.keys()
    for name, tensor in one.items():  # gradients are large there: cosines times 64
        assert (two[name] - tensor).abs().max() <= 5e-5 * tensor.abs().max() + TOLERANCE, name


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A group of one process: what is added up is its own."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3, 4)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_norm_of_whole_batches_is_torchs(shape: tuple[int, ...], momentum: float | None) -> None:
    torch.manual_seed(0)
    theirs: nn.BatchNorm1d | nn.BatchNorm2d
    theirs = nn.BatchNorm1d(5, momentum=momentum) if len(shape) == 2 else nn.BatchNorm2d(5, momentum=momentum)
    nn.init.uniform_(theirs.weight)
    nn.init.uniform_(theirs.bias)
    copied = type(theirs)(5, momentum=momentum)
    copied.load_state_dict(theirs.state_dict())
    ours = WholeBatchNorm(copied)
    weight = torch.rand(shape)
    for _ in range(2):
        x = 3 * torch.randn(shape) + 100
        found = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        for norm, input_ in zip((theirs, ours), found, strict=True):
            norm.zero_grad()
            y = norm(input_)
            (y * weight).sum().backward()
            input_.y = y.detach()  # type: ignore[attr-defined]
        torch.testing.assert_close(found[1].y, found[0].y, rtol=1e-4, atol=1e-4)  # type: ignore[attr-defined]
        torch.testing.assert_close(found[1].grad, found[0].grad, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-4, atol=1e-4)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-5, msg=name)
    x = torch.randn(shape)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_gpus_get_torchs_own_synchronised_norms() -> None:
    """Their forward pass needs CUDA: here only that each takes the place, the names and the numbers of a batch norm."""
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm1d(3)))
    nn.init.uniform_(network[1].weight)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    Share(0, 2).see_whole_batches(network, torch.device("cuda:0"))
    assert [type(module) for module in network.modules() if not list(module.children())] == [
        nn.Conv2d,
        nn.SyncBatchNorm,
        nn.SyncBatchNorm,
    ]
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    Share().see_whole_batches(alone_too := nn.Sequential(nn.BatchNorm2d(3)), CPU)
    assert type(alone_too[0]) is nn.BatchNorm2d


@pytest.mark.parametrize(
    ("images", "batch", "partial", "processes", "least"),
    [
        (64, 4, False, 4, None),
        (64, 4, False, 5, 4),
        (66, 32, True, 2, None),
        (66, 32, True, 3, 2),
        (3, 32, False, 4, 3),
    ],
)
def test_batches_of_fewer_images_than_processes_are_refused(
    images: int, batch: int, partial: bool, processes: int, least: int | None
) -> None:
    recipe = Recipe("test", 1, batch, 0.1, partial_batch=partial)
    if least is None:
        refuse_thin_batches(recipe, images, processes)
        return
    with pytest.raises(EdgenasError, match=f"a batch of this training has {least} images, .* take {least} or fewer"):
        refuse_thin_batches(recipe, images, processes)


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cpu", "--processes 999: this machine .*two processes fit each: take "),
        ("cuda", "this study was started on a GPU and there is none here"),
    ],
)
def test_more_processes_than_this_machine_has_places_are_refused(device: str, why: str, digits: Task) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has GPUs")
    with pytest.raises(EdgenasError, match=why):
        FinalPool(digits, 1, device, processes=999)


def test_threads_of_a_training_are_shared() -> None:
    assert [Share(0, 2).threads(count) for count in (1, 2, 5)] == [1, 1, 2]
