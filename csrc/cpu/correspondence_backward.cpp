// correspondence_backward_cpu: rows in class order, rectangles, and gradients back to their
// positions.
#include <torch/csrc/stable/library.h>

#include <numeric>
#include <tuple>

#include "correspondence.h"
#include "rectangles.h"

namespace spcolor {
namespace {

// What a backward knows of a forward, beside its inputs.
struct Saved {
  Optional grad_warped, grad_similarity, grad_lse;
  Tensor warped, similarity, index, log_mass;
  double weight_cutoff;

  bool has_softmax() const { return grad_warped || grad_lse; }
};

Optional contiguous_as(const Optional& tensor, ScalarType dtype, const char* name,
                       std::initializer_list<int64_t> shape) {
  if (!tensor) return std::nullopt;
  check_dtype(name, *tensor, dtype);
  check_shape(name, *tensor, shape);
  return torch::stable::contiguous(*tensor);
}

Saved checked(const CorrespondenceInputs& in, const Saved& given) {
  const ScalarType dtype = in.accumulation();
  const int64_t B = in.B, N = in.N, softmax_N = in.value ? N : 0;
  return {contiguous_as(given.grad_warped, dtype, "grad_warped", {B, N, in.D}),
          contiguous_as(given.grad_similarity, dtype, "grad_similarity", {B, N}),
          contiguous_as(given.grad_lse, dtype, "grad_lse", {B, softmax_N}),
          *contiguous_as(given.warped, dtype, "warped", {B, N, in.D}),
          *contiguous_as(given.similarity, dtype, "similarity", {B, N}),
          *contiguous_as(given.index, ScalarType::Long, "index", {B, N}),
          *contiguous_as(given.log_mass, dtype, "log_mass", {B, softmax_N}),
          given.weight_cutoff};
}

// [B, M]: rank of each key position in its image's class order.
Buffer<int32_t> ranks_of_keys(const CorrespondenceInputs& in) {
  Buffer<int32_t> ranks(in.B * in.M);
  const int32_t* order = in.key.order ? in.key.order->const_data_ptr<int32_t>() : nullptr;
  for (int64_t b = 0; b < in.B; ++b)
    for (int64_t rank = 0; rank < in.M; ++rank)
      ranks[b * in.M + (order ? order[b * in.M + rank] : rank)] = int32_t(rank);
  return ranks;
}

// Incoming gradients and saved results of the related query rows, in class order.
template <class T>
struct RowGradients {
  Buffer<T> maximum, log2_mass, threshold, offset, grad_warped, grad_similarity, score_gradient;
  Buffer<int32_t> rank;

  // key_ranks: [B, M], see ranks_of_keys.
  RowGradients(const CorrespondenceInputs& in, const Saved& saved, const Batch& batch,
               const Buffer<int32_t>& key_ranks)
      : maximum(batch.query_rows),
        log2_mass(batch.query_rows),
        threshold(batch.query_rows),
        offset(batch.query_rows),
        grad_warped(batch.query_rows * in.D, T(0)),
        grad_similarity(batch.query_rows),
        score_gradient(batch.query_rows, T(0)),
        rank(batch.query_rows) {
    const std::vector<Chunk> chunks = chunks_of(batch, Side::query, chunk_rows);
    run_tasks(int64_t(chunks.size()), [&](int64_t task, int64_t) {
      const RelatedClass& c = batch.list[chunks[task].group];
      for (int64_t r = chunks[task].begin; r < chunks[task].begin + chunks[task].count; ++r)
        read_row(in, saved, c, r, key_ranks);
    });
  }

 private:
  // The score whose weight is the cutoff times the weight beside the maximum: a row that has nearly
  // all of it there owes its whole gradient to the rest.
  static T score_threshold(const Saved& saved, T maximum, T log_mass, double temperature) {
    const double rest = std::max(-std::expm1(-double(log_mass)), saved.weight_cutoff);
    const double log_weight = std::log(saved.weight_cutoff * rest);
    const T score = T(double(maximum) + (log_weight + double(log_mass)) * temperature);
    return std::min(score, std::nextafter(maximum, -T(INFINITY)));
  }

  void read_row(const CorrespondenceInputs& in, const Saved& saved, const RelatedClass& c,
                int64_t r, const Buffer<int32_t>& key_ranks) {
    const int64_t row = c.query_row + r, at = c.image * in.N + c.query_rank + r;
    const int64_t position =
        c.image * in.N +
        (in.query.order ? in.query.order->const_data_ptr<int32_t>()[at] : c.query_rank + r);
    const int64_t index = saved.index.const_data_ptr<int64_t>()[position];
    const bool is_key = 0 <= index && index < in.M;
    rank[row] = is_key ? key_ranks[c.image * in.M + index] - int32_t(c.key_rank) : -1;
    grad_similarity[row] =
        saved.grad_similarity ? saved.grad_similarity->const_data_ptr<T>()[position] : T(0);
    if (!saved.has_softmax()) return;
    const T log_mass = saved.log_mass.const_data_ptr<T>()[position];
    maximum[row] = saved.similarity.const_data_ptr<T>()[position];
    log2_mass[row] = log_mass * T(log2_e);
    threshold[row] = score_threshold(saved, maximum[row], log_mass, in.temperature);
    // The gradients of warped sum to 0 over a row and those of lse to grad_lse / temperature: with
    // this the kernel can take scores relative to the maximum, which loses less to rounding.
    if (saved.grad_lse)
      score_gradient[row] =
          T(maximum[row] * saved.grad_lse->const_data_ptr<T>()[position] / in.temperature);
    T sum = saved.grad_lse ? saved.grad_lse->const_data_ptr<T>()[position] : T(0);
    if (saved.grad_warped) {
      const T* grad = saved.grad_warped->const_data_ptr<T>() + position * in.D;
      const T* warped = saved.warped.const_data_ptr<T>() + position * in.D;
      std::copy_n(grad, in.D, grad_warped.get() + row * in.D);
      for (int64_t d = 0; d < in.D; ++d) sum -= grad[d] * warped[d];
    }
    offset[row] = sum;
  }
};

// A class with a feature that is not finite, or a softmax that is not a number, has gradients that
// are not numbers.
template <class T>
void spoil(const Batch& batch, const UnitVectors<T>& query, const UnitVectors<T>& key,
           const Buffer<T>& grad_query, const Buffer<T>& grad_key, const Buffer<T>& grad_value,
           int64_t D, bool has_softmax, const RowGradients<T>& rows) {
  const T nan = T(std::nan(""));
  for (const RelatedClass& c : batch.list) {
    bool is_nan = is_spoiled(c, query, key);
    for (int64_t r = 0; r < c.n && has_softmax; ++r)
      is_nan |= std::isnan(rows.log2_mass[c.query_row + r]);
    if (!is_nan) continue;
    spoil_rows(c, query.row_stride, grad_query, grad_key);
    if (!has_softmax) continue;
    if (grad_value.get())
      std::fill_n(grad_value.get() + c.key_slot * D, round_up(c.m, key.width) * D, nan);
    rows.score_gradient[c.query_row] = nan;
  }
}

// Panels [slots, D] back to the batch's positions of `grad`, in value's own type.
template <class T>
void unpack_values(const Batch& batch, const Kernels<T>& kernels, int64_t D,
                   const Buffer<T>& panels, const Source& grad) {
  const int64_t width = kernels.key_width;
  std::vector<T> row(D);
  for (const RelatedClass& c : batch.list)
    for (int64_t j = 0; j < c.m; ++j) {
      const T* panel = panels.get() + (c.key_slot + j / width * width) * D + j % width;
      for (int64_t d = 0; d < D; ++d) row[d] = panel[d * width];
      kernels.scatter_rows(row.data(), nullptr, 1, D, D, grad.positions(c.image, c.key_rank + j));
    }
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// Where a backward writes the gradients that are wanted.
struct GradientTargets {
  std::optional<Source> query, key, value;
  Buffer<double> score_gradient;  // [related classes], what the temperature's gradient sums up
};

template <class T>
void backward(const CorrespondenceInputs& in, const Saved& saved, const Batch& batch,
              const Kernels<T>& kernels, const Buffer<int32_t>& key_ranks,
              const GradientTargets& targets) {
  const UnitVectors<T> query(in.query, Side::query, batch, kernels, in.center, in.normalize, true);
  const UnitVectors<T> key(in.key, Side::key, batch, kernels, in.center, in.normalize, true);
  const bool has_softmax = saved.has_softmax();
  const Buffer<T> value = has_softmax ? pack_values<T>(in, batch, kernels) : Buffer<T>();
  const RowGradients<T> rows(in, saved, batch, key_ranks);
  const int64_t C = query.C, D = in.D, stride = query.row_stride;
  const Buffer<T> grad_query(batch.query_rows * stride, T(0));
  const Buffer<T> grad_key(batch.key_rows * stride, T(0));
  const Buffer<T> grad_value = targets.value ? Buffer<T>(batch.key_slots * D, T(0)) : Buffer<T>();

  run_rectangles(
      rectangle_rounds(batch, kernels.query_width, kernels.key_width),
      [&](const Rectangle& rectangle, void* scratch) {
        const RelatedClass& c = batch.list[rectangle.group];
        const int64_t row = c.query_row + rectangle.first_row;
        const int64_t key_row = c.key_row + rectangle.first_key;
        const int64_t slot = c.key_slot + rectangle.first_key;
        BackwardTask<T> task{};
        task.query = query.panels.get() + (c.query_slot + rectangle.first_row) * C;
        task.key = key.panels.get() + slot * C;
        task.value = has_softmax ? value.get() + slot * D : nullptr;
        task.query_rows = query.rows.get() + row * stride;
        task.key_rows = key.rows.get() + key_row * stride;
        task.rows = rectangle.rows;
        task.m = rectangle.keys;
        task.channels = C;
        task.values = D;
        task.row_stride = stride;
        task.first_key = rectangle.first_key;
        task.log2_scale = T(log2_e / in.temperature);
        task.inverse_temperature = T(1 / in.temperature);
        task.maximum = rows.maximum.get() + row;
        task.log2_mass = rows.log2_mass.get() + row;
        task.threshold = rows.threshold.get() + row;
        task.grad_warped = rows.grad_warped.get() + row * D;
        task.offset = rows.offset.get() + row;
        task.grad_similarity = saved.grad_similarity ? rows.grad_similarity.get() + row : nullptr;
        task.rank = rows.rank.get() + row;
        task.grad_query_rows = grad_query.get() + row * stride;
        task.grad_key_rows = grad_key.get() + key_row * stride;
        task.grad_value = targets.value && has_softmax ? grad_value.get() + slot * D : nullptr;
        task.score_gradient =
            targets.score_gradient.get() ? rows.score_gradient.get() + row : nullptr;
        task.scratch = scratch;
        kernels.backward(task);
      });
  spoil(batch, query, key, grad_query, grad_key, grad_value, D, has_softmax, rows);

  if (targets.score_gradient.get())
    for (const RelatedClass& c : batch.list) {
      const T* sums = rows.score_gradient.get() + c.query_row;
      targets.score_gradient[c.number] = std::accumulate(sums, sums + c.n, 0.0);
    }
  if (targets.query) query.backward(batch, kernels, grad_query, *targets.query);
  if (targets.key) key.backward(batch, kernels, grad_key, *targets.key);
  if (targets.value) unpack_values(batch, kernels, D, grad_value, *targets.value);
}

struct Wanted {
  bool query, key, value, temperature;
};

template <class T>
Gradients backward(const CorrespondenceInputs& in, const Saved& saved, const Wanted& wanted) {
  const Kernels<T>& kernels = spcolor::kernels<T>();
  const Batches batches = in.batches(kernels);
  const auto target = [](bool is_wanted, const std::optional<Source>& source, int64_t rows) {
    return is_wanted ? std::optional(gradient_of(*source, rows)) : std::nullopt;
  };
  const GradientTargets targets{
      target(wanted.query, in.query, batches.query_rows),
      target(wanted.key, in.key, batches.key_rows),
      target(wanted.value, in.value, batches.key_rows),
      wanted.temperature ? Buffer<double>(batches.count) : Buffer<double>()};
  const Buffer<int32_t> key_ranks = ranks_of_keys(in);
  batches.run([&](const Batch& batch) { backward(in, saved, batch, kernels, key_ranks, targets); });

  const auto none = [&] { return torch::stable::new_empty(in.query.tensor, {0}); };
  Tensor grad_temperature = none();
  if (wanted.temperature) {
    const double* sums = targets.score_gradient.get();
    grad_temperature = torch::stable::new_empty(in.query.tensor, {}, in.accumulation());
    *grad_temperature.template mutable_data_ptr<T>() =
        T(-std::accumulate(sums, sums + batches.count, 0.0) / in.temperature);
  }
  const auto result = [&](const std::optional<Source>& source) {
    return source ? source->tensor : none();
  };
  return {result(targets.query), result(targets.key), result(targets.value), grad_temperature};
}

Gradients correspondence_backward(
    const Optional& grad_warped, const Optional& grad_similarity, const Optional& grad_lse,
    const Tensor& query, const Tensor& key, const Optional& value, const Optional& query_order,
    const Tensor& query_offsets, const Optional& key_order, const Tensor& key_offsets,
    const Tensor& temperature, const Tensor& warped, const Tensor& similarity, const Tensor& index,
    const Tensor& log_mass, bool center, bool normalize, const std::string& precision,
    bool /*deterministic: always*/, double weight_cutoff, bool query_grad, bool key_grad,
    bool value_grad, bool temperature_grad) {
  const CorrespondenceInputs in(query, key, value, query_order, query_offsets, key_order,
                                key_offsets, temperature, center, normalize, precision);
  SPCOLOR_CHECK(weight_cutoff >= 0, "weight_cutoff: expected at least 0, got ", weight_cutoff);
  SPCOLOR_CHECK(value || !(grad_warped || grad_lse || value_grad),
                "value: expected a tensor, as its gradient or that of warped or lse is asked for");
  const Saved saved = checked(in, {grad_warped, grad_similarity, grad_lse, warped, similarity,
                                   index, log_mass, weight_cutoff});
  const Wanted wanted{query_grad, key_grad, value_grad, temperature_grad};
  return in.is_double() ? backward<double>(in, saved, wanted) : backward<float>(in, saved, wanted);
}

}  // namespace
}  // namespace spcolor

STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CPU, m) {
  m.impl("correspondence_backward_cpu", TORCH_BOX(&spcolor::correspondence_backward));
}
