// What a block of a forward kernel has to do, and what it does with its scores: the same whichever
// instructions computed them.
#pragma once

#include <type_traits>

#include "correspondence_rows.cuh"

namespace spcolor {

// scores *= scale of row * scale of column: the products were of vectors as they came.
template <class T, int MI, int NI>
__device__ inline void apply_scale(T (&scores)[MI][NI][4], const T* row_scale, int rows,
                                   const T* column_scale, int columns) {
#pragma unroll
  for (int i = 0; i < MI; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = i * 16 + row_of(half * 2);
      const T scale = row < rows ? row_scale[row] : T(0);
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) scores[i][j][half * 2 + odd] *= scale;
    }
#pragma unroll
  for (int j = 0; j < NI; ++j)
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
      const int column = j * 8 + column_of(odd);
      const T scale = column < columns ? column_scale[column] : T(0);
#pragma unroll
      for (int i = 0; i < MI; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) scores[i][j][half * 2 + odd] *= scale;
    }
}

// Whether this block is the last of `count` to arrive, and so sees what the others wrote. For the
// first `threads` threads of a block.
__device__ inline bool is_last_to_arrive(int* counter, int count, int threads) {
  __shared__ bool is_last;
  __threadfence();
  prim::barrier_sync(1, threads);
  if (threadIdx.x == 0) is_last = atomicAdd(counter, 1) == count - 1;
  prim::barrier_sync(1, threads);
  __threadfence();
  return is_last;
}

// scores beyond `columns` = fill
template <class T, int MI, int NI>
__device__ inline void fill_columns(T (&scores)[MI][NI][4], int columns, T fill) {
#pragma unroll
  for (int j = 0; j < NI; ++j)
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
      if (j * 8 + column_of(odd) < columns) continue;
#pragma unroll
      for (int i = 0; i < MI; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) scores[i][j][half * 2 + odd] = fill;
    }
}

// f(tile, is_partial) for the tiles first..end - 1 of keys, of which the first `full` have all
// their columns: their code does not ask for each one.
template <class F>
__device__ inline void for_each_tile(int first, int end, int full, const F& f) {
  const int end_full = end < full ? end : full;
  for (int tile = first; tile < end_full; ++tile) f(tile, std::false_type{});
  if (end_full < end) f(end_full, std::true_type{});
}

// A tile of queries and one split of the keys of its class. Blocks: x: tile and split; y: DV
// values; z: image.
template <class T, int DV>
struct TileWork {
  const ForwardTask<T>& task;
  int number, split, splits;  // of the tile in its image; splits of its class
  Tile tile;
  Range range;               // of the keys
  int first_tile, end_tile;  // of keys of the class, for this block
  int full_tiles;            // of the class
  int64_t first_query, first_key;
  RowWriter<T, DV> writer;

  __device__ TileWork(const ForwardTask<T>& task, int tile_queries, int tile_keys)
      : task(task),
        number(blockIdx.x / task.partials.splits),
        split(blockIdx.x % task.partials.splits),
        tile(find_tile(task.query.positions, blockIdx.z, number, tile_queries)),
        range(0 <= tile.segment && tile.segment < task.key.positions.classes
                  ? task.key.positions.range(blockIdx.z, tile.segment)
                  : Range{0, 0}),
        first_query(int64_t(blockIdx.z) * task.query.positions.length + tile.first),
        first_key(int64_t(blockIdx.z) * task.key.positions.length + range.first),
        writer{task, blockIdx.z, int(blockIdx.y), range.first, task.temperature.value() > 0} {
    const int tiles = (range.size() + tile_keys - 1) / tile_keys;
    full_tiles = range.size() / tile_keys;
    const int most = (range.size() + least_split_keys - 1) / least_split_keys;
    splits = task.partials.splits < most ? task.partials.splits : most;
    first_tile = split < splits ? int(int64_t(tiles) * split / splits) : 0;
    end_tile = split < splits ? int(int64_t(tiles) * (split + 1) / splits) : 0;
  }

  // False where there is nothing to multiply; queries that have no keys are written here.
  __device__ bool begin() const {
    if (tile.segment >= 0 && range.size() == 0 && split == 0)
      for (int row = threadIdx.x; row < tile.rows; row += blockDim.x)
        writer.write_unrelated(tile.first + row);
    return tile.segment >= 0 && split < splits;
  }

  // Adds the products of rows first_row.. of the tile and the keys of tile t. Those of keys beyond
  // the class may be anything.
  template <bool is_partial, class State, int MI, int NI>
  __device__ void add(State& state, T (&scores)[MI][NI][4], int t, int first_row,
                      T log2_scale) const {
    const int first = t * NI * 8, columns = range.size() - first;
    if (task.query.scale)
      apply_scale(scores, task.query.scale + first_query + first_row, tile.rows - first_row,
                  task.key.scale + first_key + first, columns);
    if constexpr (DV == 0) {
      if constexpr (is_partial) fill_columns(scores, columns, T(0));
      state.add_poison(scores);
    }
    if constexpr (is_partial) fill_columns(scores, columns, -infinity<T>());
    const T* value =
        DV > 0 ? task.value + (first_key + first) * task.padded_values + writer.first_value()
               : nullptr;
    state.template add<is_partial>(scores, first, columns, value, task.padded_values, log2_scale);
  }

  // Writes the results of a thread's rows from first_row on; of several splits, the last block to
  // arrive does so for all of them. The first `threads` threads of the block come here, each with R
  // rows.
  template <int R, class State>
  __device__ void finish(State& state, int first_row, T log2_scale, int threads) const {
    state.finish();
    const auto for_each_row = [&](const auto& f) {
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const int row = first_row + r / 2 * 16 + row_of(r % 2 * 2);
        if (threadIdx.x % 4 == 0 && row < tile.rows) f(r, row);
      }
    };
    if (splits == 1) {
      for_each_row([&](int r, int row) { writer.write(tile.first + row, state.result(r)); });
      return;
    }
    const auto partial = [&](int of_split, int row) {
      return PartialRow<T, DV>(task, blockIdx.y, of_split, first_query + row);
    };
    for_each_row([&](int r, int row) { partial(split, row).write(state.result(r)); });
    const int64_t tiles = gridDim.x / task.partials.splits;
    const int64_t at = (int64_t(blockIdx.z) * gridDim.y + blockIdx.y) * tiles + number;
    if (!is_last_to_arrive(task.partials.counters + at, splits, threads)) return;
    for_each_row([&](int, int row) {
      RowResult<T, DV> merged = partial(0, row).read();
      for (int s = 1; s < splits; ++s) merged.merge(partial(s, row).read(), log2_scale);
      writer.write(tile.first + row, merged);
    });
  }
};

}  // namespace spcolor
