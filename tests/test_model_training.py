"""Training: one step from first principles, and a run that goes on as if never interrupted."""

# ruff: noqa: F811 (fixtures that are imported)

from pathlib import Path

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.color import lab2rgb
from training_runs import (
    assert_same,
    checkpoints,
    distance,
    one_thread,  # noqa: F401
    photos,  # noqa: F401
    state,
    train,
    trainer,
    weights,
)

from spcolor_model.model import Classes
from spcolor_model.prior.tensor import GlobalPrior
from spcolor_model.training.step import luminance_noise
from spcolor_model.training.trainer import Trainer
from spcolor_model.training.validation import validate

# An eps that is large beside the gradients: the generator's update is then proportional to the
# gradient, not to its sign, which rounding decides where the gradient is nearly 0. Large rates, so
# that the order of the two updates shows.
SMOOTH_ADAM = (
    "optimizer.eps=1.0",
    "optimizer.warp_lr=0.1",
    "optimizer.color_lr=0.1",
    "optimizer.discriminator_lr=0.001",
    "optimizer.decay_steps=2",
    "optimizer.decay=0.5",
)


def plain_smoothness(ab, lab, alpha=2.0):
    """By unfolding 3 x 3 neighbourhoods."""
    near_lab, near_ab = (F.unfold(x, 3, padding=1).unflatten(1, (-1, 9)) for x in (lab, ab))
    weight = (-(near_lab - lab.flatten(2)[:, :, None]).square().sum(1) / alpha).softmax(1)
    return ((near_ab * weight[:, None]).sum(2) - ab.flatten(2)).square().mean()


def plain_adversarial(better, worse):
    above = (better - worse.mean() - 1).square().mean()
    return (above + (worse - better.mean() + 1).square().mean()) / 2


def plain_step(run: Trainer, one, optimizers) -> dict[str, float]:
    """Update run's networks as section IV of the paper says, one line after another."""
    model, discriminator, weight = run.model, run.discriminator, run.config.loss.weights
    generator_adam, discriminator_adam = optimizers
    batch, luminance = one.batch, one.batch.luminance
    ab, warped = model(
        luminance + one.noise,
        batch.reference_luminance,
        batch.reference_ab,
        one.classes,
        one.reference_classes,
    )
    truth, found = torch.cat([luminance, batch.ab], 1), torch.cat([luminance, ab], 1)

    discriminator_adam.zero_grad()
    real, fake = discriminator(torch.cat([truth, found.detach()])).chunk(2)
    of_discriminator = plain_adversarial(real, fake)
    of_discriminator.backward()
    discriminator_adam.step()

    generator_adam.zero_grad()
    real, fake = discriminator(torch.cat([truth, found])).chunk(2)
    features, truth_features = (
        model.backbone(kornia.color.lab_to_rgb(x))[-1] for x in (found, truth)
    )
    error = (features - truth_features).square()
    mask = F.interpolate(1 - warped[:, 2:].detach(), error.shape[2:])
    known = batch.is_self.nonzero().flatten()
    terms = {
        "l1": (ab - batch.ab)[known].abs().mean() if len(known) else 0 * ab.sum(),
        "perceptual": (error * mask).mean(),
        "adversarial": plain_adversarial(fake, real),
        "smoothness": plain_smoothness(ab, truth),
    }
    total = sum(getattr(weight, name) * term for name, term in terms.items())
    total.backward()
    generator_adam.step()
    terms |= {"discriminator": of_discriminator, "total": total}
    return {name: term.item() for name, term in terms.items()}


def copy_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in network.state_dict().items()}


def test_a_step_is_that_of_the_paper(photos, tmp_path):
    """Three steps: gradients start from 0, Adam goes on, and the rate falls after the second."""
    more = (*SMOOTH_ADAM, "data.self_reference_probability=0.5", "loss.weights.perceptual=0.1")
    actual, expected = (trainer(photos, tmp_path, *more) for _ in range(2))
    networks, rates = (expected.model, expected.discriminator), (0.1, 0.001)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999), eps=eps, foreach=False)
        for network, rate, eps in zip(networks, rates, (1.0, 1e-8), strict=True)
    ]
    flags = []
    for step, (passes, same) in enumerate(zip(actual.passes, expected.passes, strict=True)):
        before = [copy_of(x) for x in (expected.model, expected.discriminator)]
        terms, prediction = actual.update(passes)
        if step == 2:
            for adam, rate in zip(optimizers, rates, strict=True):
                adam.param_groups[0]["lr"] = rate / 2
        wanted = plain_step(expected, same[0], optimizers)
        assert {name: x.item() for name, x in terms.items()} == pytest.approx(wanted, rel=1e-5)
        assert not prediction.ab.requires_grad
        for name, start in zip(("model", "discriminator"), before, strict=True):
            found, wanted = (getattr(run, name) for run in (actual, expected))
            assert distance(found.state_dict(), wanted.state_dict(), start) < 1e-4
            # Rounding would grow from step to step.
            wanted.load_state_dict(found.state_dict())
        flags += same[0].batch.is_self.tolist()
    assert len(set(flags)) == 2
    assert all(x.requires_grad for x in actual.discriminator.parameters())


def test_two_passes_of_two_are_one_of_four(photos, tmp_path):
    """Where a loss of the batch is the mean of its images'."""
    more = ("loss.weights.perceptual=0", "loss.weights.adversarial=0", "luminance_noise=0")
    more += ("data.self_reference_probability=1", *SMOOTH_ADAM)
    whole = trainer(photos, tmp_path, *more, "batch_size=4")
    parts = trainer(photos, tmp_path, *more, "batch_size=2", "accumulate=2")
    start = copy_of(whole.model)
    (one,), two = next(iter(whole.passes)), next(iter(parts.passes))
    for run, passes in ((whole, [one]), (parts, two)):
        terms, _ = run.update(passes)
        run.total = terms["total"].item()
    assert parts.total == pytest.approx(whole.total, rel=1e-5)
    assert distance(copy_of(parts.model), copy_of(whole.model), start) < 1e-4
    parts.update(two[:1])
    assert distance(copy_of(parts.model), copy_of(whole.model), start) > 0.1


def test_the_discriminator_learns_from_every_pass(photos, tmp_path):
    """A pass twice over gives the mean of both, which is that of one."""
    once, twice = (trainer(photos, tmp_path, *SMOOTH_ADAM) for _ in range(2))
    (one,) = next(iter(once.passes))
    for run, passes in ((once, [one]), (twice, [one, one])):
        run.start = copy_of(run.discriminator)
        run.discriminator.eval()  # or each forward improves its estimate of the spectral norm
        run.terms, _ = run.update(passes)
    assert twice.terms["discriminator"].item() == pytest.approx(once.terms["discriminator"].item())
    found, wanted = copy_of(twice.discriminator), copy_of(once.discriminator)
    assert distance(found, wanted, once.start) < 1e-4


def test_half_precision_is_for_activations_alone(photos, tmp_path):
    """bf16 gives nearly the same images, and weights and moments of float32."""
    exact, rounded = trainer(photos, tmp_path), trainer(photos, tmp_path, "bf16=true")
    (one,) = next(iter(exact.passes))
    (expected, _), (found, prediction) = (run.update([one]) for run in (exact, rounded))
    assert prediction.ab.dtype == torch.bfloat16
    assert found["l1"] != expected["l1"]
    for name in ("l1", "perceptual", "smoothness", "total"):
        assert found[name].item() == pytest.approx(expected[name].item(), rel=0.15), name
    moments = rounded.optimizers[0].state_dict()["adam"]["state"].values()
    tensors = [*rounded.model.parameters(), *(one["exp_avg"] for one in moments)]
    assert {x.dtype for x in tensors} == {torch.float32}


def test_without_its_weight_the_discriminator_rests(photos, tmp_path):
    run = trainer(photos, tmp_path, "loss.weights.adversarial=0")
    before = copy_of(run.discriminator)
    run.run()
    assert_same(run.discriminator.state_dict(), before)


def scalars(out: Path) -> dict[str, dict[int, float]]:
    """Return what TensorBoard shows of a run, by name and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "logs"))
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def test_an_interrupted_run_goes_on_to_the_same_bits(photos, tmp_path, monkeypatch):
    """Weights, their average, moments, random numbers, noise, and what TensorBoard shows."""
    noises = []

    def recorded(*args):
        noises.append(luminance_noise(*args))
        return noises[-1]

    monkeypatch.setattr("spcolor_model.training.passes.luminance_noise", recorded)
    more = ("prior.kind=clusters", "prior.num_segments=4", "ema=0.9", "accumulate=2")
    more += ("optimizer.decay_steps=1", "optimizer.decay=0.9", "validation_steps=2")
    straight = train(photos, tmp_path / "straight", *more, "max_steps=4")
    straight_noises, noises = noises, []
    train(photos, tmp_path / "twice", *more, "max_steps=2")
    torch.manual_seed(99)
    twice = train(photos, tmp_path / "twice", *more, "max_steps=4")
    assert_same(weights(twice), weights(straight))
    assert_same(state(twice), state(straight))
    assert_same(noises, straight_noises)
    assert len({float(x.sum()) for x in noises}) == 8
    seen = scalars(tmp_path / "straight")
    assert seen == scalars(tmp_path / "twice")
    assert [*seen["loss/total"]] == [1, 2, 3, 4]
    assert [*seen["validation/psnr"]] == [2, 4]


def test_noise_depends_on_seed_and_place_alone():
    whole = luminance_noise((4, 1, 8, 8), 2.0, seed=1, turn=5, first=0)
    second = luminance_noise((2, 1, 8, 8), 2.0, seed=1, turn=5, first=2)
    assert torch.equal(whole[2:], second)
    assert not torch.equal(whole[:2], second)
    for other in ({"seed": 2, "turn": 5}, {"seed": 1, "turn": 6}):
        assert not torch.equal(whole, luminance_noise((4, 1, 8, 8), 2.0, first=0, **other))
    many = luminance_noise((8, 1, 64, 64), 2.0, seed=0, turn=0, first=0)
    assert abs(many.mean()) < 0.05
    assert abs(many.std() - 2) < 0.05


def test_the_average_is_exponential(photos, tmp_path):
    train(photos, tmp_path, "ema=0.75", "checkpoint_steps=1")
    first, *others = map(weights, checkpoints(tmp_path))
    for name in ("warp_net", "color_net"):
        names = [key for key in first if key.startswith(f"{name}.")]
        average = {key: first[key].double() for key in names}
        for later in others:
            average = {key: 0.75 * average[key] + 0.25 * later[key].double() for key in names}
        for key, expected in average.items():
            actual = others[-1][f"average_{key}"].double()
            torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)
        assert any(not torch.equal(others[-1][key], others[-1][f"average_{key}"]) for key in names)


class BrightnessPrior(GlobalPrior):
    """Forty classes by the brightness of 8 x 8 pixels, so that photos lack some."""

    num_segments = 40

    def forward(self, rgb):
        means = F.avg_pool2d(rgb.mean(1), 8)
        return (means * 40).long().clamp(0, 39), 0.5 + means / 2


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_validation_measures_what_it_says(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("spcolor_model.training.build.GlobalPrior", BrightnessPrior)
    run = trainer(photos, tmp_path, "prior.reference=color")
    found = validate(run.model, run.prior, run.validation_pairs, run.config.prior, run.process)
    expected = []
    for sample in (run.validation_pairs[index] for index in range(2)):
        target, reference = (
            kornia.color.lab_to_rgb(torch.cat([luminance, ab])[None])
            for luminance, ab in (
                (sample.luminance, 0 * sample.ab),
                (sample.reference_luminance, sample.reference_ab),
            )
        )
        classes, reference_classes = run.prior(target), run.prior(reference)
        maps = sample.luminance, sample.reference_luminance, sample.reference_ab
        maps = (x[None] for x in maps)
        with torch.no_grad():
            ab, warped = run.model(*maps, Classes(*classes), Classes(*reference_classes))
        truth, luminance = sample.ab.double().numpy(), sample.luminance.double().numpy()
        ab = ab[0].double().numpy()
        rgb = [lab2rgb(np.concatenate([luminance, x]).transpose(1, 2, 0)) for x in (ab, truth)]
        expected.append(
            {
                "ab_error": np.sqrt(((ab - truth) ** 2).sum(0)).mean(),
                "gray_ab_error": np.sqrt((truth**2).sum(0)).mean(),
                "psnr": -10 * np.log10(((rgb[0] - rgb[1]) ** 2).mean()),
                "similarity": float(warped[0, 2].double().mean()),
                "unrelated": 1 - np.isin(classes[0], reference_classes[0]).mean(),
            }
        )
    means = {name: np.mean([one[name] for one in expected]) for name in expected[0]}
    assert 0.01 < means["unrelated"] < 0.9
    assert found == pytest.approx(means, rel=1e-4)


def test_the_configuration_reaches_networks_and_optimisers(photos, tmp_path):
    """eps and amsgrad are the generator's alone, as in the published code."""
    more = ("optimizer.amsgrad=true", "optimizer.eps=0.001", "network.temperature=0.02")
    run = trainer(photos, tmp_path, *more)
    assert run.model.options["temperature"] == 0.02
    names = ("lr", "eps", "amsgrad", "betas")
    betas = (0.5, 0.999)
    assert [
        tuple(group[name] for name in names)
        for optimizer in run.optimizers
        for group in optimizer.adam.param_groups
    ] == [(5e-4, 1e-3, True, betas), (1e-3, 1e-3, True, betas), (2e-4, 1e-8, False, betas)]
