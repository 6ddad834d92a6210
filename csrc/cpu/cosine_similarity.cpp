// cosine_similarity_cpu and its backward: the scores of every related class, written out.
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <tuple>

#include "inputs.h"
#include "rectangles.h"

namespace spcolor {
namespace {

struct Inputs : MatchingInputs {
  Tensor block_offsets;  // [B * K + 1] int64

  Inputs(const Tensor& q, const Tensor& k, const Tensor& query_order, const Tensor& q_offsets,
         const Tensor& key_order, const Tensor& k_offsets, const Tensor& begins, bool center,
         bool normalize, const std::string& precision)
      : MatchingInputs(q, k, query_order, q_offsets, key_order, k_offsets, center, normalize,
                       precision),
        block_offsets(torch::stable::contiguous(begins)) {
    check_dtype("block_offsets", begins, ScalarType::Long);
    check_shape("block_offsets", begins, {B * K + 1});
  }

  // First element of a class's block of n x m scores, checked to fit into `total`.
  int64_t block_begin(const RelatedClass& c, int64_t total) const {
    const int64_t begin = block_offsets.const_data_ptr<int64_t>()[c.image * K + c.segment];
    SPCOLOR_CHECK(0 <= begin && begin <= total - c.n * c.m, "total_size: expected at least ",
                  begin + c.n * c.m, ", got ", total);
    return begin;
  }
};

// Scores of one batch, at their place in values [total].
template <class T>
void forward(const Inputs& in, const Batch& batch, const Kernels<T>& kernels, T* values,
             int64_t total) {
  const UnitVectors<T> query(in.query, Side::query, batch, kernels, in.center, in.normalize, false);
  const UnitVectors<T> key(in.key, Side::key, batch, kernels, in.center, in.normalize, false);
  const T nan = T(std::nan(""));
  constexpr int64_t task_rows = 48;  // a multiple of every query width
  const std::vector<Chunk> tasks = chunks_of(batch, Side::query, task_rows);
  run_tasks(int64_t(tasks.size()), [&](int64_t index, int64_t) {
    const Chunk& chunk = tasks[index];
    const RelatedClass& c = batch.list[chunk.group];
    T* block = values + in.block_begin(c, total) + chunk.begin * c.m;  // [chunk.count, m]
    ForwardTask<T> task{};
    task.query = query.panels.get() + (c.query_slot + chunk.begin) * query.C;
    task.key = key.panels.get() + c.key_slot * key.C;
    task.rows = chunk.count;
    task.m = c.m;
    task.channels = query.C;
    kernels.scores(task, block);
    // A vector that is not finite has a scale that is not a number.
    for (int64_t i = 0; i < chunk.count; ++i)
      if (std::isnan(query.scale[c.query_row + chunk.begin + i]))
        std::fill_n(block + i * c.m, c.m, nan);
    for (int64_t j = 0; j < c.m; ++j)
      if (std::isnan(key.scale[c.key_row + j]))
        for (int64_t i = 0; i < chunk.count; ++i) block[i * c.m + j] = nan;
  });
}

template <class T>
Tensor forward(const Inputs& in, int64_t total) {
  const Kernels<T>& kernels = spcolor::kernels<T>();
  Tensor out = torch::stable::new_zeros(in.query.tensor, {total}, in.accumulation());
  T* values = out.template mutable_data_ptr<T>();
  const Batches batches = in.batches(kernels);
  batches.for_each_class([&](const RelatedClass& c) { in.block_begin(c, total); });
  batches.run([&](const Batch& batch) { forward(in, batch, kernels, values, total); });
  return out;
}

template <class T>
void backward(const Inputs& in, const Batch& batch, const Kernels<T>& kernels, const Tensor& grad,
              const Source& target_query, const Source& target_key) {
  const UnitVectors<T> query(in.query, Side::query, batch, kernels, in.center, in.normalize, true);
  const UnitVectors<T> key(in.key, Side::key, batch, kernels, in.center, in.normalize, true);
  const int64_t stride = query.row_stride;
  const Buffer<T> grad_query(batch.query_rows * stride, T(0));
  const Buffer<T> grad_key(batch.key_rows * stride, T(0));
  run_rectangles(rectangle_rounds(batch, kernels.query_width, kernels.key_width),
                 [&](const Rectangle& rectangle, void* scratch) {
                   const RelatedClass& c = batch.list[rectangle.group];
                   const int64_t row = c.query_row + rectangle.first_row;
                   const int64_t key_row = c.key_row + rectangle.first_key;
                   BackwardTask<T> task{};
                   task.query_rows = query.rows.get() + row * stride;
                   task.key_rows = key.rows.get() + key_row * stride;
                   task.rows = rectangle.rows;
                   task.m = rectangle.keys;
                   task.row_stride = stride;
                   task.grad_scores = grad.const_data_ptr<T>() + in.block_begin(c, grad.numel()) +
                                      rectangle.first_row * c.m + rectangle.first_key;
                   task.grad_scores_stride = c.m;
                   task.grad_query_rows = grad_query.get() + row * stride;
                   task.grad_key_rows = grad_key.get() + key_row * stride;
                   task.scratch = scratch;
                   kernels.backward(task);
                 });
  for (const RelatedClass& c : batch.list)
    if (is_spoiled(c, query, key)) spoil_rows(c, stride, grad_query, grad_key);
  query.backward(batch, kernels, grad_query, target_query);
  key.backward(batch, kernels, grad_key, target_key);
}

template <class T>
std::tuple<Tensor, Tensor> backward(const Inputs& in, const Tensor& grad) {
  const Kernels<T>& kernels = spcolor::kernels<T>();
  const Batches batches = in.batches(kernels);
  batches.for_each_class([&](const RelatedClass& c) { in.block_begin(c, grad.numel()); });
  const Source grad_query = gradient_of(in.query, batches.query_rows);
  const Source grad_key = gradient_of(in.key, batches.key_rows);
  batches.run(
      [&](const Batch& batch) { backward(in, batch, kernels, grad, grad_query, grad_key); });
  return {grad_query.tensor, grad_key.tensor};
}

Tensor cosine_similarity(const Tensor& query,          // [B, N, C]
                         const Tensor& key,            // [B, M, C]
                         const Tensor& query_order,    // [B, N]
                         const Tensor& query_offsets,  // [B, K + 1]
                         const Tensor& key_order,      // [B, M]
                         const Tensor& key_offsets,    // [B, K + 1]
                         const Tensor& block_offsets,  // [B * K + 1]
                         int64_t total_size, bool center, bool normalize,
                         const std::string& precision, bool /*deterministic: always*/) {
  const Inputs in(query, key, query_order, query_offsets, key_order, key_offsets, block_offsets,
                  center, normalize, precision);
  SPCOLOR_CHECK(total_size >= 0, "total_size: expected at least 0, got ", total_size);
  return in.is_double() ? forward<double>(in, total_size) : forward<float>(in, total_size);
}

std::tuple<Tensor, Tensor> cosine_similarity_backward(
    const Tensor& grad,  // [total_size]
    const Tensor& query, const Tensor& key, const Tensor& query_order, const Tensor& query_offsets,
    const Tensor& key_order, const Tensor& key_offsets, const Tensor& block_offsets, bool center,
    bool normalize, const std::string& precision, bool /*deterministic: always*/) {
  const Inputs in(query, key, query_order, query_offsets, key_order, key_offsets, block_offsets,
                  center, normalize, precision);
  SPCOLOR_CHECK(grad.dim() == 1, "grad: expected shape [total_size], got ", shape_of(grad));
  check_dtype("grad", grad, in.accumulation());
  const Tensor dense = torch::stable::contiguous(grad);
  return in.is_double() ? backward<double>(in, dense) : backward<float>(in, dense);
}

}  // namespace
}  // namespace spcolor

STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CPU, m) {
  m.impl("cosine_similarity_cpu", TORCH_BOX(&spcolor::cosine_similarity));
  m.impl("cosine_similarity_backward_cpu", TORCH_BOX(&spcolor::cosine_similarity_backward));
}
