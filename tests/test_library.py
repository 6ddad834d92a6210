"""Registration with PyTorch: opcheck, gradcheck, compile, autocast, and the choice of a backend."""

import functools

import pytest
import torch
from cases import random_inputs
from subprocesses import run_python
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import spcolor_ops
from spcolor_ops import (
    SegmentCorrespondence,
    _library,
    segment_correspondence,
    segment_cosine_similarity,
    segment_layout,
    segment_max_similarity,
    varlen_correspondence,
)
from spcolor_ops.correspondence import weight_cutoff

DIFFERENTIABLE = (torch.float32, torch.float64, torch.bfloat16)


def operator_inputs(dtype: torch.dtype, backend: str, requires_grad: bool):
    """Return query, key, value, the four tensors of both layouts, and a temperature."""
    inputs = random_inputs(dtype, n=11, m=13, c=5, d=3, k=3)
    query_layout, key_layout = (segment_layout(x, 3, backend=backend) for x in inputs[3:5])
    layouts = (query_layout.order, query_layout.offsets, key_layout.order, key_layout.offsets)
    features = [x.requires_grad_(requires_grad) for x in inputs[:3]]
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    temperature = torch.tensor(0.3, dtype=sums, requires_grad=requires_grad)
    return features, layouts, temperature


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_opcheck_layout(dtype, backend):
    labels = random_inputs().query_labels.to(dtype)
    operator = _library.operator("layout", backend)
    torch.library.opcheck(operator, ([labels], 5))
    torch.library.opcheck(operator, ([labels, labels[:, ::2]], 5))


@pytest.mark.parametrize("with_value", [True, False])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", DIFFERENTIABLE, ids=str)
def test_opcheck_correspondence(dtype, packed, with_value, backend):
    (query, key, value), layouts, temperature = operator_inputs(dtype, backend, True)
    if packed:
        layouts = (None, layouts[1], None, layouts[3])
    torch.library.opcheck(
        _library.operator("correspondence", backend),
        (
            query,
            key,
            value if with_value else None,
            *layouts,
            temperature if with_value else temperature.detach(),
            True,
            True,
            "ieee",
            True,
        ),
    )


@pytest.mark.parametrize(
    "wanted", [(True,) * 4, (True, False, False, True), (True, False, False, False)], ids=str
)
@pytest.mark.parametrize("dtype", DIFFERENTIABLE, ids=str)
def test_opcheck_correspondence_backward(dtype, wanted, backend):
    features, layouts, temperature = operator_inputs(dtype, backend, False)
    options = (False, True, "ieee", True)
    warped, similarity, index, lse, log_mass = _library.operator("correspondence", backend)(
        *features, *layouts, temperature, *options
    )
    torch.library.opcheck(
        _library.operator("correspondence_backward", backend),
        (
            *(torch.randn_like(x) for x in (warped, similarity, lse)),
            *features,
            *layouts,
            temperature,
            warped,
            similarity,
            index,
            log_mass,
            *options,
            weight_cutoff(dtype),
            *wanted,
        ),
    )


@pytest.mark.parametrize("dtype", DIFFERENTIABLE, ids=str)
def test_opcheck_cosine_similarity(dtype, backend):
    (query, key, _), layouts, _ = operator_inputs(dtype, backend, True)
    sizes = layouts[1].diff(dim=1).long() * layouts[3].diff(dim=1)
    offsets = torch.nn.functional.pad(sizes.flatten().cumsum(0), (1, 0))
    total = int(offsets[-1])
    options = (True, True, "ieee", True)
    torch.library.opcheck(
        _library.operator("cosine_similarity", backend),
        (query, key, *layouts, offsets, total, *options),
    )
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    torch.library.opcheck(
        _library.operator("cosine_similarity_backward", backend),
        (
            torch.randn(total, dtype=sums),
            query.detach().mT.contiguous().mT,  # gradients are contiguous whatever the strides
            key.detach(),
            *layouts,
            offsets,
            *options,
        ),
    )


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_gradcheck_correspondence(temperature, center, normalize, backend):
    inputs = random_inputs(torch.float64, b=2, n=6, m=7, c=4, d=2, k=2)

    def differentiable_outputs(query, key, value, temperature):
        out = segment_correspondence(
            query,
            key,
            value,
            *inputs[3:5],
            num_segments=2,
            temperature=temperature,
            center=center,
            normalize=normalize,
            backend=backend,
        )
        # -inf - -inf is not a number: unrelated rows have no difference quotient.
        return out.warped, out.similarity, out.lse[out.index >= 0]

    leaves = [x.requires_grad_() for x in inputs[:3]]
    leaves.append(torch.tensor(temperature, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(differentiable_outputs, leaves)


@pytest.mark.parametrize("center", [True, False])
def test_gradcheck_other_operators(center, backend):
    inputs = random_inputs(torch.float64, b=2, n=6, m=7, c=4, d=2, k=2)
    query, key, value = (x.requires_grad_() for x in inputs[:3])
    options = {"center": center, "backend": backend}

    def blocks(query, key):
        return segment_cosine_similarity(query, key, *inputs[3:5], num_segments=2, **options).values

    def maximum(query, key):
        return segment_max_similarity(
            query, key, *inputs[3:5], num_segments=2, **options
        ).similarity

    def varlen(query, key, value):
        cu_q, cu_k = torch.tensor([0, 2, 6]), torch.tensor([0, 3, 7])
        return varlen_correspondence(query, key, value, cu_q, cu_k, temperature=0.3, **options)[:2]

    assert torch.autograd.gradcheck(blocks, (query, key))
    assert torch.autograd.gradcheck(maximum, (query, key))
    rows = [x.detach()[0].requires_grad_() for x in (query, key, value)]
    assert torch.autograd.gradcheck(varlen, rows)


def test_second_derivatives_of_cosine_blocks_refuse(backend):
    inputs = random_inputs()
    query = inputs.query.requires_grad_()
    blocks = segment_cosine_similarity(
        *inputs[:2], *inputs[3:5], num_segments=5, backend=backend
    ).values
    (grad,) = torch.autograd.grad(blocks.square().sum(), query, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives are not implemented"):
        grad.square().sum().backward()


def train_step(backend, inputs, temperature):
    """Return outputs and gradients, as one function to compile."""
    out = segment_correspondence(
        *inputs[:5],
        num_segments=inputs.num_segments,
        temperature=temperature,
        center=True,
        backend=backend,
    )
    return out.warped, out.similarity, out.index, out.lse


def gradients(outputs, inputs, temperature):
    loss = outputs[0].square().sum() + outputs[1].sum()
    return torch.autograd.grad(loss, (*inputs[:3], temperature))


@pytest.mark.parametrize("dynamic", [None, True])
def test_compile_with_changing_sizes(dynamic, backend):
    """The same bits as eager; new sizes compile once more at most, and then never again."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    step = functools.partial(train_step, backend)
    compiled = torch.compile(step, fullgraph=True, backend=counter, dynamic=dynamic)
    for n, m in ((37, 53), (20, 31), (64, 90), (41, 17), (500, 3)):
        inputs = random_inputs(n=n, m=m)
        for x in inputs[:3]:
            x.requires_grad_()
        temperature = torch.tensor(0.1, requires_grad=True)
        expected, actual = step(inputs, temperature), compiled(inputs, temperature)
        for a, b in zip(actual, expected, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(
            gradients(actual, inputs, temperature),
            gradients(expected, inputs, temperature),
            strict=True,
        ):
            assert torch.equal(a, b)
    assert counter.frame_count <= (1 if dynamic else 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, backend: segment_layout(x.query_labels, 5, backend=backend),
        lambda x, backend: segment_max_similarity(*x[:2], *x[3:5], num_segments=5, backend=backend),
        lambda x, backend: segment_cosine_similarity(
            *x[:2], *x[3:5], num_segments=5, total_size=5000, backend=backend
        ),
        lambda x, backend: varlen_correspondence(
            *(t[0] for t in x[:3]),
            torch.arange(0, 40, 12),
            torch.arange(0, 40, 12),
            backend=backend,
        ),
        lambda x, backend: SegmentCorrespondence(5, backend=backend)(
            *(t.mT.unflatten(2, (-1, 1)) for t in x[:3]), *(t[:, :, None] for t in x[3:5])
        ),
    ],
    ids=["layout", "max_similarity", "cosine_similarity", "varlen", "module"],
)
def test_compile_every_function(call, backend):
    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    for n, m in ((37, 53), (70, 44)):
        inputs = random_inputs(n=n, m=m)
        for a, b in zip(compiled(inputs, backend), call(inputs, backend), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("temperature", [float("nan"), 0.0, -1.0])
def test_a_temperature_that_is_not_read_gives_nan(temperature, backend):
    """As on a device: the softmax is not a number, the maximum needs no temperature."""
    features, layouts, _ = operator_inputs(torch.float32, backend, False)
    operator = _library.operator("correspondence", backend)
    options = (False, True, "ieee", True)
    good = operator(*features, *layouts, torch.tensor(0.1), *options)
    bad = operator(*features, *layouts, torch.tensor(temperature), *options)
    related = good[2] >= 0
    assert bad[0][related].isnan().all()
    assert bad[3][related].isnan().all()
    assert not bad[0][~related].any()
    assert torch.equal(bad[1], good[1])
    assert torch.equal(bad[2], good[2])


@pytest.mark.parametrize("autocast_dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_casts_the_features_alone(autocast_dtype, backend):
    inputs = random_inputs()
    options = {"num_segments": 5, "backend": backend}
    cast = inputs._replace(query=inputs.query.to(autocast_dtype), key=inputs.key.to(autocast_dtype))
    expected = segment_correspondence(*cast[:5], **options)
    expected_blocks = segment_cosine_similarity(*cast[:2], *cast[3:5], **options)
    with torch.autocast("cpu", dtype=autocast_dtype):
        actual = segment_correspondence(*inputs[:5], **options)
        blocks = segment_cosine_similarity(*inputs[:2], *inputs[3:5], **options)
    assert actual.warped.dtype == torch.float32
    for a, b in zip((*actual, *blocks), (*expected, *expected_blocks), strict=True):
        assert torch.equal(a, b)


def test_autocast_accepts_features_of_two_types(backend):
    """A network's output beside features that came from elsewhere: both are cast."""
    inputs = random_inputs()
    mixed = inputs._replace(query=inputs.query.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, actual = (
            segment_correspondence(*x[:5], num_segments=5, backend=backend) for x in (inputs, mixed)
        )
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_autocast_leaves_float64_alone(backend):
    inputs = random_inputs(torch.float64)
    expected = segment_correspondence(*inputs[:5], num_segments=5, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = segment_correspondence(*inputs[:5], num_segments=5, backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


class OperatorNames(TorchDispatchMode):
    """Collects the names of this project's operators that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == _library.NAMESPACE:
            self.names.add(func._schema.name.removeprefix(f"{_library.NAMESPACE}::"))
        return func(*args, **(kwargs or {}))


def operators_run(backend: str | None) -> set[str]:
    inputs = random_inputs()
    query = inputs.query.requires_grad_()
    with OperatorNames() as seen:
        out = segment_correspondence(*inputs[:5], num_segments=5, backend=backend)
        blocks = segment_cosine_similarity(
            *inputs[:2], *inputs[3:5], num_segments=5, backend=backend
        )
        torch.autograd.grad(out.warped.sum() + blocks.values.sum(), query)
    return seen.names


STEMS = (
    "layout",
    "correspondence",
    "correspondence_backward",
    "cosine_similarity",
    "cosine_similarity_backward",
)


def test_the_backend_asked_for_runs_alone(backend):
    assert operators_run(backend) == {f"{stem}_{backend}" for stem in STEMS}


def test_none_takes_the_compiled_backend():
    compiled = "reference" if "cpu" in _library.unavailable else "cpu"
    assert operators_run(None) == {f"{stem}_{compiled}" for stem in STEMS}


@pytest.mark.parametrize(
    ("dtype", "precision", "segments", "differentiated", "expected"),
    [
        (torch.float32, None, 1, False, "triton"),
        (torch.float32, "tf32x3", 1, False, "triton"),
        (torch.float32, "fp16", 1, False, "cuda"),
        (torch.float16, None, 1, False, "cuda"),
        (torch.float32, None, 22, False, "cuda"),
        (torch.float32, None, 1, True, "cuda"),
    ],
)
def test_none_chooses_by_the_work_on_a_gpu(
    dtype, precision, segments, differentiated, expected, monkeypatch
):
    monkeypatch.setattr(_library, "unavailable", {})
    with FakeTensorMode():
        query, key = (torch.empty(8, 4096, 4, dtype=dtype, device="cuda") for _ in range(2))
        value = torch.empty(8, 4096, 3, device="cuda", requires_grad=differentiated)
        labels = torch.empty(8, 4096, dtype=torch.int64, device="cuda")
        with OperatorNames() as seen:
            segment_correspondence(
                query, key, value, labels, labels, num_segments=segments, precision=precision
            )
    assert seen.names == {"layout_cuda", f"correspondence_{expected}"}


def test_a_gpu_without_the_extension_is_served_by_triton(monkeypatch):
    monkeypatch.setattr(_library, "unavailable", {"cuda": "not installed"})
    assert _library.resolve_backend(None, torch.device("cuda")) == "triton"


def test_without_the_extension_none_warns_once_and_cpu_refuses(monkeypatch):
    monkeypatch.setitem(_library.unavailable, "cpu", "its compiled library is not installed")
    _library._warn_once.cache_clear()
    with pytest.warns(UserWarning, match="plain PyTorch .* serves cpu tensors") as warned:
        ran = [operators_run(None) for _ in range(2)]
    assert ran == [{f"{stem}_reference" for stem in STEMS}] * 2
    assert len(warned) == 1
    with pytest.raises(RuntimeError, match="'cpu' is not available: its compiled library"):
        operators_run("cpu")
    _library._warn_once.cache_clear()


def test_a_missing_library_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "__file__", str(tmp_path / "_library.py"))
    assert "install a C++ compiler" in _library._load_library("cpu", _library._CPU_REMEDY)
    (tmp_path / "_C_cpu.abi3.so").write_bytes(b"not a library")
    assert "does not load" in _library._load_library("cpu", _library._CPU_REMEDY)


@pytest.mark.parametrize("backend_name", spcolor_ops.BACKENDS)
def test_every_operator_of_every_backend_has_the_same_schema(backend_name):
    for stem in STEMS:
        schemas = [
            str(_library.operator(stem, name).default._schema).replace(f"{stem}_{name}", stem)
            for name in (backend_name, "reference")
        ]
        assert schemas[0] == schemas[1]


IMPORT_WITH_TORCH_ALONE = """
import sys

OPTIONAL = {
    "numpy", "scipy", "torchvision", "skimage", "sklearn", "timm", "PIL", "cv2", "rich", "typer",
    "matplotlib", "spcolor_model",
}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
import torch
import spcolor_ops

x, labels = torch.randn(1, 6, 4, requires_grad=True), torch.zeros(1, 6, dtype=torch.int64)
out = spcolor_ops.segment_correspondence(x, x, x, labels, labels, num_segments=1)
out.warped.sum().backward()
assert x.grad.isfinite().all()
assert not OPTIONAL & {name.partition(".")[0] for name in sys.modules}
"""


def test_import_needs_torch_alone():
    finished = run_python("-W", "ignore", "-c", IMPORT_WITH_TORCH_ALONE)
    assert finished.returncode == 0, finished.stderr
