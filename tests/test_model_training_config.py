"""Configuration of training: presets, YAML files, single values, and what is refused."""

import pytest

pytest.importorskip("omegaconf")

from spcolor_model.training.config import PRESETS, Seen, as_yaml, load_config

NAMES = ("official", "paper", "small")


def test_presets_are_those_that_the_documentation_names():
    assert sorted(path.stem for path in PRESETS.glob("*.yaml")) == list(NAMES)


def test_presets_differ_as_the_paper_and_its_code_do():
    paper, official = load_config("paper"), load_config("official")
    optimizers = (paper.optimizer, official.optimizer)
    assert [x.warp_lr for x in optimizers] == [2e-5, 2e-5]
    assert [x.color_lr for x in optimizers] == [2e-5, 4e-4]
    assert [x.discriminator_lr for x in optimizers] == [2e-4, 2e-4]
    assert [(x.decay, x.decay_steps) for x in optimizers] == [(0.1, 100_000), (0.5, 20_000)]
    assert [(x.beta1, x.beta2, x.eps, x.amsgrad) for x in optimizers] == [
        (0.5, 0.999, 1e-8, False),
        (0.5, 0.999, 1e-5, True),
    ]
    assert [x.prior.num_segments for x in (paper, official)] == [22, 27]
    assert [x.prior.target for x in (paper, official)] == [Seen.gray, Seen.color]
    assert [x.loss.weights.contextual for x in (paper, official)] == [0, 0.2]
    assert [x.loss.global_statistics for x in (paper, official)] == [True, False]
    assert [x.max_steps for x in (paper, official)] == [120_000, 120_000]


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_the_same_after_yaml(name, tmp_path):
    config = load_config(name, ["seed=3", "ema=0.999", "data.manifest=a b.csv", "out=2024/05"])
    path = tmp_path / f"{name}.yaml"
    path.write_text(as_yaml(config))
    assert load_config(str(path)) == config


def test_a_file_changes_the_defaults_and_overrides_change_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 5\noptimizer:\n  decay: 0.25\n")
    config = load_config(str(path), ["optimizer.decay=0.75"])
    assert (config.name, config.seed, config.optimizer.decay) == ("mine", 5, 0.75)
    assert config.batch_size == load_config("paper").batch_size


def test_an_unknown_preset_is_refused(tmp_path):
    for name in ("large", str(tmp_path)):
        with pytest.raises(FileNotFoundError, match=f"expected one of .*paper.*, got {name}"):
            load_config(name)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning_rate=1", "config: learning_rate: .*not in"),
        ("loss.weights.l2=1", "config: loss.weights.l2: .*not in"),
        ("max_steps", "config: max_steps: .*None"),
        ("max_steps=many", "config: max_steps: .*'many'"),
        ("max_steps=1.5", "config: max_steps: .*'1.5'"),
        ("bf16=perhaps", "config: bf16: .*'perhaps'"),
        ("prior.kind=masks", "config: prior.kind: .*'masks', expected one of .*clusters"),
        ("data=3", "config: .*DataConfig"),
        ("out=[1", "config: while parsing"),
        ("seed=${other}", "config: seed: .*'other' not found"),
        ("loss.weights.l1=-1", "l1: expected a finite weight of at least 0, got -1"),
        ("loss.weights.l1=.nan", "l1: expected a finite weight of at least 0, got nan"),
        ("optimizer.warp_lr=.nan", "optimizer.warp_lr: expected .*at least 0, got nan"),
        ("optimizer.color_lr=-1", "optimizer.color_lr: expected .*at least 0, got -1"),
        ("optimizer.discriminator_lr=.inf", "discriminator_lr: expected .*at least 0, got inf"),
        ("optimizer.decay=-1", "optimizer.decay: expected .*at least 0, got -1"),
        ("optimizer.decay_steps=0", "optimizer.decay_steps: expected .*at least 1, got 0"),
        ("luminance_noise=-1", "luminance_noise: expected .*at least 0, got -1"),
        ("seed=-1", "seed: expected .*at least 0, got -1"),
        ("max_steps=-1", "max_steps: expected .*at least 0, got -1"),
        ("data.workers=-1", "data.workers: expected .*at least 0, got -1"),
        ("network.channels=0", "network.channels: expected .*at least 1, got 0"),
        ("network.color_width=0", "network.color_width: expected .*at least 1, got 0"),
        ("network.discriminator_width=0", "discriminator_width: expected .*at least 1, got 0"),
        ("prior.num_segments=0", "prior.num_segments: expected .*at least 1, got 0"),
        ("batch_size=0", "batch_size: expected .*at least 1, got 0"),
        ("accumulate=0", "accumulate: expected .*at least 1, got 0"),
        ("log_steps=0", "log_steps: expected .*at least 1, got 0"),
        ("image_steps=0", "image_steps: expected .*at least 1, got 0"),
        ("checkpoint_steps=0", "checkpoint_steps: expected .*at least 1, got 0"),
        ("validation_steps=0", "validation_steps: expected .*at least 1, got 0"),
        ("keep=0", "keep: expected .*at least 1, got 0"),
        ("ema=1", "ema: expected a number between 0 and 1, got 1"),
        ("data.image_size=32", "data.image_size: expected a multiple of 32, at least 64, got 32"),
        ("data.image_size=100", "data.image_size: expected a multiple of 32, .*got 100"),
        ("prior.kind=none", "prior.num_segments: expected 1 for prior.kind=none, got 8"),
    ],
)
def test_errors_name_the_value_and_what_was_expected(override, message):
    with pytest.raises(ValueError, match=message):
        load_config("small", [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"data: [1\n", "config: while parsing"),
        (b"- 1\n- 2\n", "config: "),
        (b"text", "config: text: .*not in"),
        (b"\xff\xfe\x00", "config: .*utf-8"),
        (b"data: null\n", "config: data: "),
        (b"out: ${missing}\n", "config: out: .*missing"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        load_config(str(path))
