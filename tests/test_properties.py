"""Properties that hold for any shape, searched by hypothesis."""

import torch
from cases import DTYPES, Options
from checking import check, run
from hypothesis import given
from hypothesis import strategies as st
from random_problems import FEATURES, PATTERNS, STRIDES, Problem, build

from spcolor_ops import varlen_correspondence

PROBLEMS = st.builds(
    Problem,
    batch=st.integers(0, 3),
    n=st.integers(0, 40),
    m=st.integers(0, 50),
    channels=st.integers(1, 70),
    values=st.integers(0, 20),
    num_segments=st.integers(1, 60),
    dtype=st.sampled_from(DTYPES),
    value_dtype=st.sampled_from(DTYPES),
    pattern=st.sampled_from(PATTERNS),
    features=st.sampled_from(FEATURES),
    strides=st.sampled_from(STRIDES),
    options=st.builds(
        Options,
        precision=st.none(),
        temperature=st.sampled_from((0.1, 1.0)),
        center=st.booleans(),
        normalize=st.booleans(),
    ),
    seed=st.integers(0, 2**31),
)


@given(problem=PROBLEMS)
def test_any_problem_matches_the_oracle(backend, problem):
    check(build(problem), problem.options, backend=backend)


@given(problem=PROBLEMS)
def test_images_do_not_see_each_other(backend, problem):
    """A batch is its images one by one, to the bit."""
    inputs = build(problem)
    whole = run(inputs, problem.options, backend=backend, wanted=()).outputs
    for b in range(problem.batch):
        part = inputs._replace(
            **{name: getattr(inputs, name)[b : b + 1] for name in inputs._fields[:5]}
        )
        alone = run(part, problem.options, backend=backend, wanted=()).outputs
        for name, output in alone.items():
            assert torch.equal(output[0], whole[name][b]), name


@given(problem=PROBLEMS)
def test_sorted_labels_are_packed_groups(backend, problem):
    """`varlen_correspondence` and `segment_correspondence` agree where both apply, to the bit."""
    inputs = build(problem._replace(batch=1, pattern="sorted"))
    whole = run(inputs, problem.options, backend=backend, wanted=()).outputs
    offsets = [
        torch.bincount(labels[0], minlength=inputs.num_segments).cumsum(0) for labels in inputs[3:5]
    ]
    cu = [torch.nn.functional.pad(x, (1, 0)) for x in offsets]
    packed = varlen_correspondence(
        *(x[0] for x in inputs[:3]), *cu, **problem.options._asdict(), backend=backend
    )._asdict()
    related = packed["index"] >= 0
    packed["index"][related] += cu[1][inputs.query_labels[0]][related]
    for name, output in packed.items():
        assert torch.equal(output, whole[name][0]), name
