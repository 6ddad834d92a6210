// The forward kernel: scores of one tile of queries against all keys of its class, their maximum,
// softmax and weighted values, in one pass.
#pragma once

#include "correspondence_tile.cuh"
#include "slice_stream.cuh"

namespace spcolor {

constexpr int forward_threads = 128;

// Keys of a tile: as many as leave the registers room for their scores.
template <class T>
constexpr int tile_keys = 256 / int(sizeof(T));

template <int MI, class T>
using ForwardStream = SliceStream<64 * MI, tile_keys<T>, forward_threads>;

// Blocks: x: tile of 64 MI queries and split of its keys; y: DV values; z: image.
// A warp has 16 MI rows of the tile and all keys of a step.
template <class Product, int MI, int DV>
__global__ void __launch_bounds__(forward_threads, 2)
    forward_kernel(ForwardTask<typename Product::Sum> task, SlicePlan plan) {
  using T = typename Product::Sum;
  constexpr int tile_keys = spcolor::tile_keys<T>;
  using Scores = T[MI][tile_keys / 8][4];
  SPCOLOR_SHARED(unsigned char, memory);
  const TileWork<T, DV> work(task, 64 * MI, tile_keys);
  if (!work.begin()) return;
  ForwardStream<MI, T> stream(memory, plan,
                              task.query.from(blockIdx.z, work.tile.first, work.tile.rows),
                              task.key.from(blockIdx.z, work.range.first, work.range.size()),
                              work.first_tile, work.end_tile);
  const int first_row = threadIdx.x / 32 * 16 * MI;  // of this warp
  const T log2_scale = task.temperature.log2_scale();
  RowState<T, 2 * MI, DV> state;
  for_each_tile(work.first_tile, work.end_tile, work.full_tiles, [&](int tile, auto is_partial) {
    Scores scores = {};
    for (int slice = 0; slice < plan.slices; ++slice) {
      stream.next();
      Product::multiply(stream.left() + first_row * slice_bytes, stream.right(), scores);
    }
    constexpr bool partial = decltype(is_partial)::value;
    work.template add<partial>(state, scores, tile, first_row, log2_scale);
  });
  work.template finish<2 * MI>(state, first_row, log2_scale, forward_threads);
}

}  // namespace spcolor
