import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from edgenas.errors import DataError
from edgenas.records import Recipe
from edgenas.tasks.margin import MarginLoss, margin_loss

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning import losses

PEOPLE, DIM = 7, 16


def batch(spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(PEOPLE, (40,), generator=generator)
    return spread * torch.randn(40, DIM, generator=generator), labels


def ours(kind: str, **settings: float) -> MarginLoss:
    torch.manual_seed(1)
    return MarginLoss(kind, PEOPLE, DIM, **({"scale": 64.0, "margin": 0.5} | settings))


def reference(loss: MarginLoss) -> torch.nn.Module:
    """pytorch-metric-learning's loss at the same centres; its ArcFace takes degrees."""
    if loss.kind == "arcface":
        other = losses.ArcFaceLoss(PEOPLE, DIM, margin=math.degrees(loss.margin), scale=loss.scale)
    else:
        other = losses.CosFaceLoss(PEOPLE, DIM, margin=loss.margin, scale=loss.scale)
    other.W.data = loss.centres.data.T.clone()
    return other


@pytest.mark.parametrize("kind", ["arcface", "cosface"])
@pytest.mark.parametrize("margin", [0.0, 0.4, 0.5])
def test_losses_and_gradients_are_pytorch_metric_learnings(kind: str, margin: float) -> None:
    embeddings, labels = batch()
    loss = ours(kind, margin=margin)
    theirs = reference(loss)
    a, b = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    value, _ = loss(a, labels)
    expected = theirs(b, labels)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(a.grad, b.grad, atol=1e-5)
    assert torch.allclose(loss.centres.grad, theirs.W.grad.T, atol=1e-3, rtol=1e-4)


def test_arcface_agrees_beyond_the_angle_where_its_cosine_would_grow_again() -> None:
    loss = ours("arcface")
    labels = torch.arange(PEOPLE)
    opposite = -loss.centres.detach() + 1e-4 * torch.randn(PEOPLE, DIM, generator=torch.Generator().manual_seed(2))
    value, correct = loss(opposite, labels)
    assert value.item() == pytest.approx(reference(loss)(opposite, labels).item(), rel=1e-4)
    assert correct.item() == 0


def test_adaface_is_cosface_at_average_quality_and_arcface_at_the_lowest() -> None:
    # quality 0: additive margin m only; quality -1: angle + m and no additive margin (AdaFace, section 3.3)
    embeddings, labels = batch()
    embeddings = 20 * F.normalize(embeddings)
    average = ours("adaface", margin=0.4).eval()
    assert average(embeddings, labels)[0].item() == pytest.approx(
        ours("cosface", margin=0.4)(embeddings, labels)[0].item(), rel=1e-4
    )
    lowest = ours("adaface", margin=0.4, h=100.0).eval()  # norm far below the mean, whatever the deviation
    assert lowest(embeddings / 20, labels)[0].item() == pytest.approx(
        ours("arcface", margin=0.4)(embeddings, labels)[0].item(), rel=1e-3
    )


def test_adaface_follows_its_formula_on_one_pair() -> None:
    loss = MarginLoss("adaface", 2, 2, scale=10.0, margin=0.4, h=0.333).eval()
    loss.centres.data = torch.eye(2)
    value, correct = loss(torch.tensor([[48.0, 36.0]]), torch.tensor([0]))  # norm 60, cosines .8 and .6
    quality = 0.333 * (60 - 20) / (100 + 1e-3)
    own = math.cos(math.acos(0.8) - 0.4 * quality) - (0.4 + 0.4 * quality)
    assert value.item() == pytest.approx(math.log(1 + math.exp(10 * (0.6 - own))), rel=1e-5)
    assert correct.item() == 1


def test_adaface_learns_what_an_average_norm_is_only_while_training() -> None:
    embeddings, labels = batch(spread=5.0)
    loss = ours("adaface")
    loss.eval()(embeddings, labels)
    assert loss.norm_mean.item() == 20.0
    loss.train()(embeddings, labels)
    assert loss.norm_mean.item() == pytest.approx(20 + 0.01 * (embeddings.norm(dim=1).mean().item() - 20))


def test_a_recipe_names_the_loss_and_its_settings() -> None:
    recipe = Recipe("faces", 1, 32, 0.1, loss="cosface", settings={"scale": 16.0, "far": 1.0})
    loss = margin_loss(recipe, PEOPLE, DIM)
    assert (loss.kind, loss.scale, loss.margin) == ("cosface", 16.0, 0.4)
    with pytest.raises(DataError, match="'cross-entropy' is not for faces: arcface, cosface, adaface"):
        margin_loss(Recipe("fast", 1, 32, 0.1), PEOPLE, DIM)
