// The backward of the correspondence operators: everything is recomputed, nothing is [N, M].
#pragma once

#include "correspondence.cuh"
#include "gradient.cuh"
#include "unit_vectors_backward.cuh"

namespace spcolor {

// What a backward knows of the forward, contiguous, at the positions. T is the type of sums.
struct Saved {
  const void *grad_warped, *grad_similarity, *grad_lse;  // [B, N, D], [B, N], [B, N]; null: none
  const void *warped, *similarity, *log_mass;            // likewise
  const int64_t* index;                                  // [B, N]
};

// Where gradients go, contiguous; null: not wanted.
struct Gradients {
  void *query, *key, *value;  // in the types of the inputs
  void* temperature;          // [] in the type of sums
};

template <class T>
struct GatherTask {
  const T *grad_warped, *grad_similarity, *grad_lse, *warped, *similarity, *log_mass;
  const int64_t* saved_index;
  Positions positions;
  int images, values, padded_values;
  Temperature<T> temperature;
  RowGradient<T>* rows;   // [B, N] in class order
  int32_t* index;         // [B, N]
  T* packed_grad_warped;  // [B, N, Dp]; null: not wanted
  T* temperature_sums;    // [B, N]; null: not wanted
};

constexpr int gather_threads = 128;

// Threads: one query row each.
template <class T>
__global__ void __launch_bounds__(gather_threads) gather_rows_kernel(GatherTask<T> task) {
  const int rank = blockIdx.x * gather_threads + threadIdx.x;
  const int64_t image = blockIdx.y;
  if (rank >= task.positions.length) return;
  const int64_t from = image * task.positions.length + task.positions.position(image, rank);
  const int64_t to = image * task.positions.length + rank;
  const T grad_lse = task.grad_lse ? task.grad_lse[from] : T(0);
  const bool has_softmax = task.grad_warped || task.grad_lse;
  RowGradient<T> row{task.similarity[from],
                     has_softmax ? T(task.log_mass[from] * T(1.4426950408889634)) : T(0), grad_lse,
                     task.grad_similarity ? task.grad_similarity[from] : T(0)};
  if (task.grad_warped)
    for (int d = 0; d < task.padded_values; ++d) {
      const int64_t at = from * task.values + d;
      const T grad = d < task.values ? task.grad_warped[at] : T(0);
      if (d < task.values) row.offset -= grad * task.warped[at];
      task.packed_grad_warped[to * task.padded_values + d] = grad;
    }
  task.rows[to] = row;
  task.index[to] = int32_t(task.saved_index[from]);
  // The gradients of warped sum to 0 over a row and those of lse to g_lse / temperature: with this,
  // scores can be taken relative to the maximum, which loses less to rounding.
  if (task.temperature_sums)
    task.temperature_sums[to] =
        grad_lse == 0 ? T(0) : row.maximum * grad_lse / task.temperature.value();
}

constexpr int temperature_threads = 1024;

// grad = -(sum of `sums`) / temperature, in one block and so always in the same order.
template <class T>
__global__ void __launch_bounds__(temperature_threads)
    temperature_kernel(const T* sums, int64_t count, Temperature<T> temperature, T* grad) {
  __shared__ double warp_sums[32];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += temperature_threads) sum += double(sums[i]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  sum = warp_sum(warp_sums[threadIdx.x]);
  if (threadIdx.x == 0) *grad = T(-sum / double(temperature.value()));
}

template <class Product, bool own_is_query, bool of_cosines>
void launch_gradient(const GradientTask<typename Product::Sum>& task, const SlicePlan& plan,
                     int blocks, cudaStream_t stream) {
  const Positions& own = own_is_query ? task.query.positions : task.key.positions;
  const int images = task.images;
  SPCOLOR_LAUNCH((gradient_kernel<Product, own_is_query, of_cosines>),
                 dim3(most_tiles(own, own_rows), blocks, images), dim3(gradient_threads),
                 GradientStream::bytes(plan) + pair_bytes<typename Product::Sum>, stream, task,
                 plan);
}

// Both sides' unit vectors again, and room for their gradients.
template <class E>
struct Recomputed {
  using T = Sum<E>;
  Packing packing;
  PackedSizes sizes;
  UnitVectorsTask<T> vectors;
  GradientTask<T> task;
  UnitVectorsBackwardTask<T> backward;

  Recomputed(const Problem& problem, void* grad_query, void* grad_key, Workspace& workspace)
      : packing(backward_packing(problem)),
        sizes(problem.query.channels, packing),
        vectors(unit_vectors_task<T>(problem, packing, 0, workspace)),
        task{},
        backward{} {
    task.images = problem.images;
    task.query = packed_side(vectors.query, packing);
    task.key = packed_side(vectors.key, packing);
    task.packed_channels = sizes.padded_channels;
    task.channel_blocks = int(ceil_div(sizes.slices, most_again<T>));
    const auto side = [&](const Side<T>& own, const Side<T>& other, void* features) {
      const int64_t rows = int64_t(problem.images) * own.positions.length;
      T* grad = workspace.take<T>(features ? rows * sizes.padded_channels : 0);
      return SideGradient<T>{features ? grad : nullptr,
                             static_cast<const T*>(own.rows),
                             own.scale,
                             own.means,
                             own.positions,
                             other.positions,
                             features};
    };
    backward.query = side(vectors.query, vectors.key, grad_query);
    backward.key = side(vectors.key, vectors.query, grad_key);
    backward.images = problem.images;
    backward.channels = problem.query.channels;
    backward.padded_channels = sizes.padded_channels;
    backward.mean_channels = mean_slice(
        backward.channels, 2 * int64_t(backward.images) * problem.query_positions.classes,
        backward.channels % row_chunk<T> == 0);
    backward.center = problem.center;
    backward.normalize = problem.normalize;
  }

  // Product that reads these rows; f as in with_product.
  template <bool left_is_query, class F>
  void with_product(const Problem& problem, const F& f) const {
    if constexpr (std::is_same_v<T, double>) {
      f(Type<FmaProduct<double>>{});
    } else {
      // 16-bit features as they are: the forward's products were exact, and these nearly are.
      const bool was_exact = forward_packing(problem).raw;
      with_float_product<left_is_query>(was_exact ? Precision::tf32x3 : problem.precision, f);
    }
  }
};

template <class E>
void correspondence_backward(const Problem& problem, const Saved& saved, const Gradients& out,
                             Workspace& workspace, cudaStream_t stream) {
  using T = Sum<E>;
  Recomputed<E> recomputed(problem, out.query, out.key, workspace);
  const int64_t rows = int64_t(problem.images) * problem.query_positions.length;
  const bool has_softmax = saved.grad_warped || saved.grad_lse;
  GatherTask<T> gather{};
  gather.grad_warped = static_cast<const T*>(saved.grad_warped);
  gather.grad_similarity = static_cast<const T*>(saved.grad_similarity);
  gather.grad_lse = static_cast<const T*>(saved.grad_lse);
  gather.warped = static_cast<const T*>(saved.warped);
  gather.similarity = static_cast<const T*>(saved.similarity);
  gather.log_mass = static_cast<const T*>(saved.log_mass);
  gather.saved_index = saved.index;
  gather.positions = problem.query_positions;
  gather.images = problem.images;
  gather.values = problem.value.channels;
  gather.padded_values = recomputed.vectors.padded_values;
  gather.temperature = temperature_of<T>(problem);
  gather.rows = workspace.take<RowGradient<T>>(rows);
  gather.index = workspace.take<int32_t>(rows);
  T* grad_warped = workspace.take<T>(saved.grad_warped ? rows * gather.padded_values : 0);
  gather.packed_grad_warped = saved.grad_warped ? grad_warped : nullptr;
  T* sums = workspace.take<T>(out.temperature ? rows : 0);
  gather.temperature_sums = out.temperature ? sums : nullptr;
  if (workspace.is_measuring()) return;

  const auto finish = [&] {
    if (out.temperature)
      SPCOLOR_LAUNCH(temperature_kernel<T>, dim3(1), dim3(temperature_threads), 0, stream,
                     gather.temperature_sums, rows, gather.temperature,
                     static_cast<T*>(out.temperature));
  };
  if (problem.is_empty()) return finish();
  if (rows > 0)
    SPCOLOR_LAUNCH(
        gather_rows_kernel<T>,
        dim3(unsigned(ceil_div(gather.positions.length, gather_threads)), problem.images),
        dim3(gather_threads), 0, stream, gather);
  launch_unit_vectors<E>(recomputed.vectors, stream);

  GradientTask<T>& task = recomputed.task;
  task.rows = gather.rows;
  task.index = gather.index;
  task.grad_warped = gather.packed_grad_warped;
  task.value = recomputed.vectors.packed_value;
  task.values = problem.value.channels;
  task.padded_values = gather.padded_values;
  task.has_softmax = has_softmax;
  task.temperature = gather.temperature;
  const int channel_blocks = task.channel_blocks;
  const SlicePlan plan =
      GradientStream::plan(recomputed.sizes.slices, problem.shared_limit - pair_bytes<T>);
  if (out.query || out.temperature) {
    task.grad = recomputed.backward.query.grad;
    task.temperature_sums = gather.temperature_sums;
    recomputed.template with_product<true>(problem, [&](auto product) {
      launch_gradient<typename decltype(product)::type, true, false>(
          task, plan, out.query ? channel_blocks : 1, stream);
    });
  }
  if (out.key || out.value) {
    task.grad = recomputed.backward.key.grad;
    task.temperature_sums = nullptr;
    task.grad_value = out.value;
    task.value_element = problem.value.element;
    task.channel_blocks = out.key ? channel_blocks : 0;
    const int value_blocks = out.value ? int(ceil_div(task.values, value_block)) : 0;
    recomputed.template with_product<false>(problem, [&](auto product) {
      launch_gradient<typename decltype(product)::type, false, false>(
          task, plan, task.channel_blocks + value_blocks, stream);
    });
  }
  launch_unit_vectors_backward<E>(recomputed.backward, stream);
  finish();
}

}  // namespace spcolor
