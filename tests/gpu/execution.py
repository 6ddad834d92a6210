"""How the GPU backends run: no synchronisation, CUDA graphs, compilation, memory, same bits."""

import contextlib

import pytest
import torch
from cases import DTYPES, Inputs, Options, random_inputs
from checking import on_device, run, sum_dtype
from gpu.plugin import BACKENDS, UNAVAILABLE

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

PRECISIONS = ("ieee", "tf32x3", "tf32", "bf16", "fp16")


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_is_available(name):
    assert name not in UNAVAILABLE, UNAVAILABLE[name]


def gpu_inputs(dtype=torch.float32, **sizes: int) -> Inputs:
    """Inputs on the GPU; features and values want gradients."""
    inputs = random_inputs(dtype, **sizes)
    tensors = [on_device(x, "cuda") for x in inputs[:5]]
    return Inputs(*(x.requires_grad_() for x in tensors[:3]), *tensors[3:], inputs.num_segments)


def train_step(inputs: Inputs, temperature, **options) -> tuple[torch.Tensor, ...]:
    """Return all outputs and gradients."""
    out = segment_correspondence(
        *inputs[:5], num_segments=inputs.num_segments, temperature=temperature, **options
    )
    loss = out.warped.float().square().sum() + out.similarity.sum()
    leaves = list(inputs[:3])
    if isinstance(temperature, torch.Tensor):
        leaves.append(temperature)
    return (*out, *torch.autograd.grad(loss, leaves))


def every_function(inputs: Inputs, cu_seqlens: torch.Tensor, backend: str):
    """Return the outputs of every other public function that does not read its size back."""
    k, labels = inputs.num_segments, inputs[3:5]
    rows = [x[0] for x in inputs[:3]]
    maps = [x.mT.unflatten(2, (-1, 1)) for x in inputs[:3]]
    return (
        *segment_layout(inputs.query_labels, k, backend=backend),
        *segment_max_similarity(*inputs[:2], *labels, num_segments=k, backend=backend),
        *segment_cosine_similarity(
            *inputs[:2], *labels, num_segments=k, total_size=5000, backend=backend
        ),
        *varlen_correspondence(*rows, cu_seqlens, cu_seqlens, backend=backend),
        *SegmentCorrespondence(k, backend=backend)(*maps, *(x[:, :, None] for x in labels)),
    )


def offsets_of_groups(*offsets: int) -> torch.Tensor:
    return torch.tensor(offsets, dtype=torch.int32, device="cuda")


@contextlib.contextmanager
def synchronisation_is_an_error():
    """Inside, PyTorch raises where the host would wait for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("temperature_form", ["number", "tensor"])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_synchronisation(dtype, center, temperature_form, backend):
    inputs, temperature = gpu_inputs(dtype), 0.1
    if temperature_form == "tensor":
        temperature = torch.tensor(0.1, dtype=sum_dtype(dtype), device="cuda", requires_grad=True)
    train_step(inputs, temperature, center=center, backend=backend)  # compile and load
    with synchronisation_is_an_error():
        train_step(inputs, temperature, center=center, backend=backend)


def test_no_function_synchronises(backend):
    inputs, cu_seqlens = gpu_inputs(), offsets_of_groups(0, 5, 5, 30)
    every_function(inputs, cu_seqlens, backend)
    with synchronisation_is_an_error():
        every_function(inputs, cu_seqlens, backend)


def captured(call):
    """Return the outputs of a call and the graph that computes them again."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call()
    return outputs, graph


# Labels of all kinds: one class, none shared, none at all, ragged.
CHANGES = {
    "ragged": lambda x, generator: x.random_(-1, 6, generator=generator),
    "one_class": lambda x, generator: x.fill_(2),
    "no_class": lambda x, generator: x.fill_(-1),
    "halves": lambda x, generator: x.copy_(torch.arange(x.shape[1], device=x.device) % 2 * 4),
    "ragged_again": lambda x, generator: x.random_(0, 5, generator=generator),
}


@pytest.mark.parametrize("length", [40, 3000])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_graph_replays_with_other_labels_features_and_temperature(dtype, center, length, backend):
    """Bit for bit what a call outside the graph gives; long keys are split over blocks."""
    inputs = gpu_inputs(dtype, b=1, n=length, m=length + 13)
    temperature = torch.tensor(0.1, dtype=sum_dtype(dtype), device="cuda", requires_grad=True)
    options = {"center": center, "backend": backend}
    outputs, graph = captured(lambda: train_step(inputs, temperature, **options))
    generator = torch.Generator("cuda").manual_seed(0)
    for name, change in CHANGES.items():
        with torch.no_grad():
            for x in inputs[3:5]:
                change(x, generator)
            for x in inputs[:3]:
                x.normal_(generator=generator)
            temperature.uniform_(0.05, 0.5, generator=generator)
        graph.replay()
        expected = train_step(inputs, temperature, **options)
        for got, wanted in zip(outputs, expected, strict=True):
            assert torch.equal(got, wanted), name


def test_a_graph_of_every_function_replays_with_other_offsets(backend):
    inputs, cu_seqlens = gpu_inputs(), offsets_of_groups(0, 5, 5, 30)

    def call():
        with torch.no_grad():
            return every_function(inputs, cu_seqlens, backend)

    outputs, graph = captured(call)
    generator = torch.Generator("cuda").manual_seed(0)
    for offsets in ((0, 1, 2, 37), (0, 0, 0, 0), (0, 37, 37, 37), (0, 11, 22, 33)):
        cu_seqlens.copy_(torch.tensor(offsets))
        for x in inputs[3:5]:
            x.random_(-1, 6, generator=generator)
        graph.replay()
        for got, wanted in zip(outputs, call(), strict=True):
            assert torch.equal(got, wanted)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_ten_runs_give_the_same_bits(precision, center, backend):
    """While another stream keeps part of the GPU busy, so that blocks arrive in any order."""
    inputs = random_inputs(b=2, n=2000, m=3000, c=64, k=2)
    options = Options(0.1, center=center, precision=precision)
    stream, noise = torch.cuda.Stream(), torch.randn(2048, 2048, device="cuda")
    first = run(inputs, options, backend=backend, device="cuda")
    for _ in range(10):
        with torch.cuda.stream(stream):
            noise @ noise
        again = run(inputs, options, backend=backend, device="cuda")
        for before, after in zip(first, again, strict=True):
            assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled_gives_the_same_bits(dynamic, backend):
    torch._dynamo.reset()

    def forward(inputs, temperature):
        return segment_correspondence(
            *inputs[:5], num_segments=5, temperature=temperature, center=True, backend=backend
        )

    compiled = torch.compile(forward, fullgraph=True, dynamic=dynamic)
    for n, m in ((37, 53), (20, 31), (64, 90), (500, 3)):
        inputs = gpu_inputs(n=n, m=m)
        temperature = torch.tensor(0.1, device="cuda", requires_grad=True)
        expected, actual = forward(inputs, temperature), compiled(inputs, temperature)
        gradients = []
        for out in (actual, expected):
            loss = out.warped.square().sum() + out.similarity.sum()
            gradients.append(torch.autograd.grad(loss, (*inputs[:3], temperature)))
        for got, wanted in zip((*actual, *gradients[0]), (*expected, *gradients[1]), strict=True):
            assert torch.equal(got, wanted)


def test_compiled_with_cuda_graphs(backend):
    """`mode="reduce-overhead"` records the call, a number for a temperature included."""
    torch._dynamo.reset()

    @torch.no_grad()
    def forward(inputs):
        return segment_correspondence(
            *inputs[:5], num_segments=5, temperature=0.1, center=True, backend=backend
        )

    compiled = torch.compile(forward, fullgraph=True, mode="reduce-overhead")
    for seed in range(4):
        inputs = gpu_inputs(seed=seed)
        expected, actual = forward(inputs), compiled(inputs)
        assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_opcheck(dtype, backend):
    inputs = gpu_inputs(dtype, n=11, m=13, c=5, d=3, k=3)
    options, sums = (True, True, "ieee", True), sum_dtype(dtype)

    def check(stem, *arguments):
        torch.library.opcheck(_library.operator(stem, backend), arguments)

    check("layout", [inputs.query_labels, inputs.key_labels], 3)
    layouts = [segment_layout(x, 3, backend=backend) for x in inputs[3:5]]
    layouts = [x for layout in layouts for x in (layout.order, layout.offsets)]
    for device in ("cuda", "cpu"):
        temperature = torch.tensor(0.3, dtype=sums, device=device)
        check("correspondence", *inputs[:3], *layouts, temperature, *options)
    check("correspondence", *inputs[:2], None, *layouts, temperature, *options)
    features = [x.detach() for x in inputs[:3]]
    outputs = _library.operator("correspondence", backend)(
        *features, *layouts, temperature, *options
    )
    warped, similarity, index, lse, log_mass = outputs
    check(
        "correspondence_backward",
        *(torch.randn_like(x) for x in (warped, similarity, lse)),
        *(*features, *layouts, temperature, warped, similarity, index, log_mass),
        *(*options, weight_cutoff(dtype), True, True, True, True),
    )
    sizes = layouts[1].diff(dim=1).long() * layouts[3].diff(dim=1)
    offsets = torch.nn.functional.pad(sizes.flatten().cumsum(0), (1, 0))
    total = int(offsets[-1])
    check("cosine_similarity", *inputs[:2], *layouts, offsets, total, *options)
    grad = torch.randn(total, dtype=sums, device="cuda")
    check("cosine_similarity_backward", grad, *features[:2], *layouts, offsets, *options)


@pytest.mark.parametrize("num_segments", [1, 20])
def test_memory_is_not_quadratic(num_segments, backend):
    """One float32 matrix of N * M would be 4096 MiB; packed inputs and gradients are a few."""
    length = 32_768
    inputs = gpu_inputs(b=1, n=length, m=length, c=8, d=2, k=num_segments)
    train_step(gpu_inputs(c=8, d=2, k=num_segments), 0.1, center=True, backend=backend)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    train_step(inputs, 0.1, center=True, backend=backend)
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before < 100 * 2**20


def test_two_streams_at_once(backend):
    """Calls share no state: no counter, no workspace."""
    problems = [gpu_inputs(seed=seed, b=2, n=3000, m=4000, k=1) for seed in range(2)]
    streams = [torch.cuda.Stream() for _ in problems]
    expected = [train_step(x, 0.1, backend=backend) for x in problems]
    torch.cuda.synchronize()
    for _ in range(5):
        actual = []
        for inputs, stream in zip(problems, streams, strict=True):
            with torch.cuda.stream(stream):
                actual.append(train_step(inputs, 0.1, backend=backend))
        torch.cuda.synchronize()
        for got, wanted in zip(actual, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
