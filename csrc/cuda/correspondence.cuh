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

constexpr int small_class = 512;  // queries: for less, blocks of one consumer are faster

// Consumers of the Hopper kernel's blocks; 0: it cannot do the problem. Its coordinates of rows are
// 32-bit numbers.
inline int hopper_consumers(const Problem& problem, const Packing& packing, int block_values,
                            int slices) {
  const int64_t most_rows = std::numeric_limits<int32_t>::max() / (problem.images + 1);
  const int64_t queries = problem.query_positions.length, keys = problem.key_positions.length;
  if (!problem.has_wgmma || bytes_of(packing.element) != 2 || keys == 0 || keys >= most_rows ||
      queries >= most_rows)
    return 0;
  const auto is_possible = [&](auto block) {
    return HopperPlan::of(block, slices, problem.shared_limit).is_possible;
  };
  const bool is_small = queries < int64_t(small_class) * problem.query_positions.classes;
  const bool has_registers = block_values <= few_values;  // for two
  if ((is_small || !has_registers) && is_possible(HopperBlock<1>{})) return 1;
  return has_registers && is_possible(HopperBlock<2>{}) ? 2 : 0;
}

template <class Product, int DV>
void launch_forward(const Problem& problem, const ForwardTask<typename Product::Sum>& task,
                    int slices, int consumers, int chunks, cudaStream_t stream) {
  using Element = typename Product::Element;
  if constexpr (is_half<Product>) {
    const int limit = problem.shared_limit;
    if (consumers == 1)
      return launch_hopper_forward<Element, DV, 1>(task, slices, limit, chunks, stream);
    if constexpr (DV <= few_values)
      if (consumers == 2)
        return launch_hopper_forward<Element, DV, 2>(task, slices, limit, chunks, stream);
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
  const int block_values = !problem.has_value     ? 0
                           : values <= few_values ? few_values
                                                  : most_block_values<T>;
  const int value_chunks = values <= few_values ? 1 : int(ceil_div(values, block_values));
  const int slices = PackedSizes(problem.query.channels, packing).slices;
  const int consumers = hopper_consumers(problem, packing, block_values, slices);
  const int row_blocks_or_consumers =
      consumers > 0 ? consumers : row_blocks(bytes_of(packing.element) == 2, block_values);
  const int tile_queries = 64 * row_blocks_or_consumers;
  const int splits = key_splits(problem, tile_queries);
  const int counters = splits == 1 ? 0
                                   : problem.images * value_chunks *
                                         most_tiles(problem.query_positions, tile_queries);

  const auto vectors = unit_vectors_task<T>(problem, packing, counters, workspace);
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
      launch_forward<Product, 0>(problem, task, slices, consumers, value_chunks, stream);
    else if (block_values == few_values)
      launch_forward<Product, few_values>(problem, task, slices, consumers, value_chunks, stream);
    else
      launch_forward<Product, most_block_values<T>>(problem, task, slices, consumers, value_chunks,
                                                    stream);
  });
}

}  // namespace spcolor
