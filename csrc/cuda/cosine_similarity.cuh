// segment_cosine_similarity: the scores of every related class, written out, and their backward.
#pragma once

#include "correspondence_backward.cuh"

namespace spcolor {

struct CosineBlocks {
  void* values;                  // [total] in the type of sums
  const int64_t* block_offsets;  // [B * K + 1]
  int64_t total;
};

template <class T>
struct CosineTask {
  PackedSide<T> query, key;
  int images;
  T* values;
  const int64_t* block_offsets;
  int64_t total;
};

// Blocks: x: tile of 64 MI queries; z: image. Each walks over all keys of its class.
template <class Product, int MI>
__global__ void __launch_bounds__(forward_threads, 2)
    cosine_kernel(CosineTask<typename Product::Sum> task, SlicePlan plan) {
  using T = typename Product::Sum;
  constexpr int tile_keys = spcolor::tile_keys<T>, NI = tile_keys / 8;
  SPCOLOR_SHARED(unsigned char, memory);
  const int64_t image = blockIdx.z;
  const Positions &queries = task.query.positions, &keys = task.key.positions;
  const Tile tile = find_tile(queries, image, blockIdx.x, 64 * MI);
  if (tile.segment < 0 || tile.segment == keys.classes) return;
  const Range query_range = queries.range(image, tile.segment);
  const Range range = keys.range(image, tile.segment);
  T* block = cosine_block(task.values, task.block_offsets, task.total,
                          image * keys.classes + tile.segment, query_range.size(), range.size());
  if (range.size() == 0 || !block) return;
  const int tiles = (range.size() + tile_keys - 1) / tile_keys;
  ForwardStream<MI, T> stream(memory, plan, task.query.from(image, tile.first, tile.rows),
                              task.key.from(image, range.first, range.size()), 0, tiles);
  const int first_row = threadIdx.x / 32 * 16 * MI;  // of this warp
  for (int t = 0; t < tiles; ++t) {
    T scores[MI][NI][4] = {};
    for (int slice = 0; slice < plan.slices; ++slice) {
      stream.next();
      Product::multiply(stream.left() + first_row * slice_bytes, stream.right(), scores);
    }
    const int first = t * tile_keys, columns = range.size() - first;
    if (task.query.scale)
      apply_scale(scores, task.query.scale + image * queries.length + tile.first + first_row,
                  tile.rows - first_row, task.key.scale + image * keys.length + range.first + first,
                  columns);
#pragma unroll
    for (int i = 0; i < MI; ++i)
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = first_row + i * 16 + row_of(e), column = j * 8 + column_of(e);
          const int64_t row_in_class = tile.first - query_range.first + row;
          if (row < tile.rows && column < columns)
            block[row_in_class * range.size() + first + column] = scores[i][j][e];
        }
  }
}

template <class E>
void cosine_similarity(const Problem& problem, const CosineBlocks& blocks, Workspace& workspace,
                       cudaStream_t stream) {
  using T = Sum<E>;
  const Packing packing = forward_packing(problem);
  const auto vectors = unit_vectors_task<T>(problem, packing, 0, workspace);
  if (workspace.is_measuring() || problem.images * problem.query_positions.length == 0) return;
  launch_unit_vectors<E>(vectors, stream);
  const CosineTask<T> task{packed_side(vectors.query, packing),
                           packed_side(vectors.key, packing),
                           problem.images,
                           static_cast<T*>(blocks.values),
                           blocks.block_offsets,
                           blocks.total};
  const int slices = PackedSizes(problem.query.channels, packing).slices;
  with_product<T, true>(packing, problem.precision, [&](auto product) {
    using Product = typename decltype(product)::type;
    constexpr int MI = row_blocks(is_half<Product>, 0);
    using Stream = ForwardStream<MI, T>;
    const SlicePlan plan = Stream::plan(slices, problem.shared_limit);
    const unsigned tiles = most_tiles(task.query.positions, 64 * MI);
    SPCOLOR_LAUNCH((cosine_kernel<Product, MI>), dim3(tiles, 1, task.images), dim3(forward_threads),
                   Stream::bytes(plan), stream, task, plan);
  });
}

// blocks.values are the incoming gradients here.
template <class E>
void cosine_similarity_backward(const Problem& problem, const CosineBlocks& blocks,
                                const Gradients& out, Workspace& workspace, cudaStream_t stream) {
  using T = Sum<E>;
  Recomputed<E> recomputed(problem, out.query, out.key, workspace);
  if (workspace.is_measuring() || problem.is_empty()) return;
  launch_unit_vectors<E>(recomputed.vectors, stream);
  GradientTask<T>& task = recomputed.task;
  task.grad_scores = static_cast<const T*>(blocks.values);
  task.block_offsets = blocks.block_offsets;
  task.total = blocks.total;
  const SlicePlan plan{0, 0, 0, true};
  recomputed.template with_product<true>(problem, [&](auto product) {
    using Product = typename decltype(product)::type;
    task.grad = recomputed.backward.query.grad;
    launch_gradient<Product, true, true>(task, plan, task.channel_blocks, stream);
    task.grad = recomputed.backward.key.grad;
    launch_gradient<Product, false, true>(task, plan, task.channel_blocks, stream);
  });
  launch_unit_vectors_backward<E>(recomputed.backward, stream);
}

}  // namespace spcolor
