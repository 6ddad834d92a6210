"""Losses of a data-parallel run: two processes must learn what one learns from the whole batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spcolor_model.losses import GeneratorLoss, LossWeights, adversarial_discriminator
from spcolor_model.training.distributed import global_mean

RANKS = 2
IMAGES = 4  # in the global batch
# Which images of the global batch are self-references: on both ranks, on one, on none.
FLAGS = {
    "both": [True, False, True, True],
    "first": [True, True, False, False],
    "second": [False, False, False, True],
    "none": [False, False, False, False],
}
WEIGHTS = LossWeights(l1=2.0, perceptual=0.0, adversarial=0.4, smoothness=2.0)


class Toy(nn.Module):
    """Colours and scores of everything a step needs, from three weights each."""

    def __init__(self) -> None:
        super().__init__()
        self.ab = nn.Conv2d(1, 2, 1, dtype=torch.float64)
        self.score = nn.Linear(3, 1, dtype=torch.float64)

    def forward(self, lab: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ab = self.ab(lab[:, :1]).tanh() * 20
        fake = torch.cat([lab[:, :1], ab], dim=1)
        real, fake = (self.score(x.square().mean(dim=(2, 3))) for x in (lab, fake))
        return ab, real, fake


def step_gradients(model: nn.Module, lab: Tensor, is_self: Tensor, batch_mean) -> list[Tensor]:
    """Return the gradients of both players' losses together."""
    model.zero_grad()
    ab, real, fake = model(lab)
    loss = GeneratorLoss(WEIGHTS, batch_mean=batch_mean)
    total, _ = loss(ab=ab, truth_lab=lab, is_self=is_self, real=real, fake=fake)
    (total + 0.3 * adversarial_discriminator(real, fake, batch_mean=batch_mean)).backward()
    return [p.grad.clone() for p in model.parameters()]


def problem() -> tuple[Toy, Tensor]:
    torch.manual_seed(0)
    return Toy(), torch.randn(IMAGES, 3, 4, 4, dtype=torch.float64)


def uneven_values() -> list[Tensor]:
    """Values of each rank: one, and three."""
    return [torch.tensor([5.0]).double(), torch.tensor([1.0, 2.0, 4.0]).double()]


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=RANKS)
    model, lab = problem()
    model = DistributedDataParallel(model)
    mine = slice(rank * IMAGES // RANKS, (rank + 1) * IMAGES // RANKS)
    results = {
        (name, mean.__name__): step_gradients(model, lab[mine], torch.tensor(flags)[mine], mean)
        for name, flags in FLAGS.items()
        for mean in (global_mean, torch.mean)
    }
    x = uneven_values()[rank].requires_grad_()
    mean = global_mean(x)
    (mean * (rank + 1)).backward()  # so the sum over ranks asks for 1 + 2
    results["uneven"] = [mean.detach(), x.grad]
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    """What each rank found."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, (str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("name", FLAGS)
def test_two_ranks_have_the_gradient_of_the_global_batch(ranks, name):
    model, lab = problem()
    expected = step_gradients(model, lab, torch.tensor(FLAGS[name]), torch.mean)
    for found in ranks:
        for actual, wanted in zip(found[name, "global_mean"], expected, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-12, atol=1e-14)
    # Means of a rank's own batch are another loss: the test can tell.
    local = zip(ranks[0][name, "mean"], expected, strict=True)
    assert max(float((x - y).abs().max() / y.abs().max()) for x, y in local) > 1e-3


def test_global_mean_counts_the_elements_of_every_rank(ranks):
    for rank, found in enumerate(ranks):
        mean, grad = found["uneven"]
        assert mean.item() == 3  # (5 + 1 + 2 + 4) / 4, not (5 + 7 / 3) / 2
        assert torch.equal(grad, torch.full_like(uneven_values()[rank], 3 / 4))


def test_global_mean_is_the_mean_in_a_single_process():
    x = torch.randn(5, 1, dtype=torch.float64, requires_grad=True)
    assert torch.equal(global_mean(x), x.mean())
    assert torch.autograd.gradcheck(global_mean, x)
