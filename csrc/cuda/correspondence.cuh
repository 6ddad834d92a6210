// The forward of the correspondence operators: unit vectors, then one fused kernel.
#pragma once

#include <limits>

#include "correspondence_forward.cuh"
#include "correspondence_hopper.cuh"
#include "problem.cuh"

namespace spcolor {

struct Outputs {
  void *warped, *similarity, *lse, *log_mass;  // [B, N, D], [B, N] each, in the type of sums
  int64_t* index;                              // [B, N]
};

template <class T>
Temperature<T> temperature_of(const Problem& problem) {
  return {static_cast<const T*>(problem.temperature), T(problem.host_temperature)};
}

// Into how many parts the keys of a class are split: enough for two blocks on every multiprocessor
// where there are few tiles of queries.
inline int key_splits(const Problem& problem, int tile_queries) {
  const int64_t tiles = problem.images * ceil_div(problem.query_positions.length, tile_queries);
  const int64_t wanted = 2 * problem.multiprocessors / (tiles > 0 ? tiles : 1);
  const int64_t most = ceil_div(problem.key_positions.length, least_split_keys);
  const int64_t splits = wanted < most ? wanted : most;
  return splits < 1 ? 1 : splits > 16 ? 16 : int(splits);
}

// Values that a block sums up at most; more of them take as many blocks, each with all scores.
template <class T>
constexpr int most_block_values = 32 / int(sizeof(T));

// Blocks of 16 rows of a warp. Values beyond three leave no registers for a second one.
constexpr int row_blocks(bool is_half, int block_values) {
  return is_half && block_values <= 3 ? 2 : 1;
}

// Whether the Hopper kernel can do it: its coordinates of rows are 32-bit numbers.
inline bool suits_hopper(const Problem& problem, const HopperPlan& plan) {
  const int64_t most_rows = std::numeric_limits<int32_t>::max() / (problem.images + 1);
  const int64_t keys = problem.key_positions.length;
  return problem.has_wgmma && plan.is_possible() && keys > 0 && keys < most_rows &&
         problem.query_positions.length < most_rows;
}

template <class Product, int DV>
void launch_forward(const Problem& problem, const ForwardTask<typename Product::Sum>& task,
                    int slices, int chunks, cudaStream_t stream) {
  using Element = typename Product::Element;
  if constexpr (is_half<Product>) {
    const HopperPlan plan(slices, problem.shared_limit);
    if constexpr (DV == matrix_values)
      if (task.padded_values == matrix_columns)
        return launch_hopper_forward<Element, DV, MatrixRowState>(task, plan, chunks, stream);
    if (suits_hopper(problem, plan))
      return launch_hopper_forward<Element, DV, RowState<float, 2, DV>>(task, plan, chunks, stream);
  }
  constexpr int MI = row_blocks(is_half<Product>, DV);
  using Stream = ForwardStream<MI, typename Product::Sum>;
  const SlicePlan plan = Stream::plan(slices, problem.shared_limit);
  const unsigned tiles = most_tiles(task.query.positions, 64 * MI);
  SPCOLOR_LAUNCH((forward_kernel<Product, MI, DV>),
                 dim3(tiles * task.partials.splits, chunks, task.images), dim3(forward_threads),
                 Stream::bytes(plan), stream, task, plan);
}

// Launches the kernels, or only adds up the workspace they need if it has no memory.
template <class E>
void correspondence(const Problem& problem, const Outputs& out, Workspace& workspace,
                    cudaStream_t stream) {
  using T = Sum<E>;
  const Packing packing = forward_packing(problem);
  const int values = problem.value.channels;
  const int block_values = !problem.has_value ? 0 : values <= 3 ? 3 : most_block_values<T>;
  const int value_chunks = values <= 3 ? 1 : int(ceil_div(values, block_values));
  // Exact products of 16-bit features as they are deserve exact weights.
  const int slices = PackedSizes(problem.query.channels, packing).slices;
  const bool for_matrix = bytes_of(packing.element) == 2 && block_values == matrix_values &&
                          !packing.raw &&
                          suits_hopper(problem, HopperPlan(slices, problem.shared_limit));
  const int tile_queries = 64 * row_blocks(bytes_of(packing.element) == 2, block_values);
  const int splits = key_splits(problem, tile_queries);
  const int counters = splits == 1 ? 0
                                   : problem.images * value_chunks *
                                         most_tiles(problem.query_positions, tile_queries);

  const auto vectors = unit_vectors_task<T>(problem, packing, counters, for_matrix, workspace);
  const int64_t partials = splits == 1 ? 0
                                       : int64_t(value_chunks) * splits * problem.images *
                                             problem.query_positions.length;
  ForwardTask<T> task{};
  task.query = packed_side(vectors.query, packing);
  task.key = packed_side(vectors.key, packing);
  task.value = vectors.packed_value;
  task.images = problem.images;
  task.values = values;
  task.padded_values = vectors.padded_values;
  task.temperature = temperature_of<T>(problem);
  task.partials = {splits, workspace.take<T>(partials * (2 + block_values)),
                   workspace.take<int>(partials), vectors.counters};
  task.warped = static_cast<T*>(out.warped);
  task.similarity = static_cast<T*>(out.similarity);
  task.lse = static_cast<T*>(out.lse);
  task.log_mass = static_cast<T*>(out.log_mass);
  task.index = out.index;
  if (workspace.is_measuring() || problem.images * problem.query_positions.length == 0) return;

  launch_unit_vectors<E>(vectors, stream);
  with_product<T, true>(packing, problem.precision, [&](auto product) {
    using Product = typename decltype(product)::type;
    if (block_values == 0)
      launch_forward<Product, 0>(problem, task, slices, value_chunks, stream);
    else if (block_values == 3)
      launch_forward<Product, 3>(problem, task, slices, value_chunks, stream);
    else
      launch_forward<Product, most_block_values<T>>(problem, task, slices, value_chunks, stream);
  });
}

}  // namespace spcolor
