// The forward kernel: scores of one tile of queries against all keys of its class, their maximum,
// softmax and weighted values, in one pass.
#pragma once

#include <climits>
#include <cmath>

#include "slice_stream.cuh"

namespace spcolor {

// The softmax temperature, on the device or on the host.
template <class T>
struct Temperature {
  const T* device;  // null: `host`
  T host;

  __device__ T value() const { return device ? *device : host; }

  // log2(e) / temperature, kept finite and above 0 so that equal scores weigh the same at any
  // temperature; 1 where there is no temperature, whose results become NaN when they are written.
  __device__ T log2_scale() const {
    const T t = value();
    if (!(t > 0)) return 1;
    const T scale = T(1.4426950408889634) / t;
    const T most = sizeof(T) == 8 ? T(1e300) : T(1e38), least = 1 / most;
    return scale > most ? most : scale < least ? least : scale;
  }
};

// A packed side: rows in class order.
template <class T>
struct PackedSide {
  Positions positions;
  const unsigned char* rows;  // [B, N, pitch]
  int64_t pitch;              // bytes, a multiple of a slice
  const T* scale;             // [B, N], to be applied to the products; null: applied already

  __device__ Rows from(int64_t image, int first, int count) const {
    return {rows + (image * positions.length + first) * pitch, pitch, count};
  }
};

// Sums of one split over a class's keys, for the block that finishes the tile.
template <class T>
struct Partials {
  int splits;     // at most, of the keys of a class
  T* sums;        // [value chunks, splits, B, N, 2 + DV] maximum, mass, weighted values
  int* rank;      // [value chunks, splits, B, N]
  int* counters;  // [B, value chunks, tiles]: splits that have arrived
};

template <class T>
struct ForwardTask {
  PackedSide<T> query, key;
  const T* value;  // [B, M, Dp] in key order; null: only the maximum is wanted
  int images, values, padded_values;
  Temperature<T> temperature;
  Partials<T> partials;
  T *warped, *similarity, *lse, *log_mass;  // [B, N, D], [B, N] each
  int64_t* index;                           // [B, N]
};

constexpr int forward_threads = 128;

// Keys of a tile: as many as leave the registers room for their scores.
template <class T>
constexpr int tile_keys = 256 / int(sizeof(T));
constexpr int least_split_keys = 256;  // that are worth a block of their own

template <class T>
__device__ inline T infinity() {
  return T(INFINITY);
}

// Reductions over the four lanes that share a row.
template <class T, class F>
__device__ inline T quad_reduce(T x, const F& f) {
  x = f(x, __shfl_xor_sync(~0u, x, 1));
  return f(x, __shfl_xor_sync(~0u, x, 2));
}
template <class T>
__device__ inline T quad_sum(T x) {
  return quad_reduce(x, [](T a, T b) { return a + b; });
}

// Running maximum, softmax mass and weighted values of a thread's R rows. maximum and rank are
// those of the whole row; mass and warped cover the thread's own columns until `finish`.
template <class T, int R, int DV>
struct RowState {
  static constexpr int value_count = DV > 0 ? DV : 1;
  T maximum[R], mass[R], warped[R][value_count];
  int rank[R];

  __device__ RowState() {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      maximum[r] = -infinity<T>();
      mass[r] = 0;
      rank[r] = 0;
#pragma unroll
      for (int d = 0; d < value_count; ++d) warped[r][d] = 0;
    }
  }

  // Adds scores [R / 2 blocks][NI blocks], -infinity beyond `columns`. `value` is that of the first
  // column. first is the first column's rank.
  template <int NI>
  __device__ void add(const T (&scores)[R / 2][NI][4], int first, int columns, const T* value,
                      int pitch, T log2_scale) {
    T rescale[R];
    raise_maximum(scores, first, log2_scale, rescale);
    if constexpr (DV > 0) {
      // Sums of one tile are added up first: their rounding errors do not pile up over the tiles.
      T tile_mass[R] = {}, tile_warped[R][DV] = {};
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
          const int column = j * 8 + column_of(odd);
          T v[DV];
          load_value(value + column * pitch, column < columns, v);
#pragma unroll
          for (int r = 0; r < R; ++r) {
            // Not folded into one multiply-add: equal scores must give exactly 1 at any
            // temperature.
            const T p = power_of_two((scores[r / 2][j][r % 2 * 2 + odd] - maximum[r]) * log2_scale);
            tile_mass[r] += p;
#pragma unroll
            for (int d = 0; d < DV; ++d) tile_warped[r][d] += p * v[d];
          }
        }
#pragma unroll
      for (int r = 0; r < R; ++r) {
        mass[r] = mass[r] * rescale[r] + tile_mass[r];
#pragma unroll
        for (int d = 0; d < DV; ++d) warped[r][d] = warped[r][d] * rescale[r] + tile_warped[r][d];
      }
    }
  }

  // Without exponentials nothing else sees that a score is not finite: makes mass NaN.
  template <int NI>
  __device__ void add_poison(const T (&scores)[R / 2][NI][4]) {
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) mass[r] += scores[r / 2][j][r % 2 * 2 + odd] * 0;
  }

  __device__ void finish() {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      mass[r] = quad_sum(mass[r]);
#pragma unroll
      for (int d = 0; d < DV; ++d) warped[r][d] = quad_sum(warped[r][d]);
    }
  }

 private:
  static __device__ void load_value(const T* value, bool is_inside, T (&v)[value_count]) {
    constexpr int chunk = chunk_bytes / int(sizeof(T));
    struct alignas(chunk_bytes) Chunk {
      T x[chunk];
    };
#pragma unroll
    for (int d = 0; d < DV; d += chunk) {
      Chunk part{};
      if (is_inside) part = reinterpret_cast<const Chunk*>(value)[d / chunk];
#pragma unroll
      for (int i = 0; i < chunk && d + i < DV; ++i) v[d + i] = part.x[i];
    }
  }

  // rescale [R]: by how much the sums so far shrink. The column is looked for only where some row
  // of the warp has a new maximum, which soon gets rare.
  template <int NI>
  __device__ void raise_maximum(const T (&scores)[R / 2][NI][4], int first, T log2_scale,
                                T (&rescale)[R]) {
    T highest[R];
    bool is_higher = false;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      T own = -infinity<T>();
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) own = fmax(own, scores[r / 2][j][r % 2 * 2 + odd]);
      highest[r] = quad_reduce(own, [](T a, T b) { return fmax(a, b); });
      is_higher |= highest[r] > maximum[r];
      rescale[r] = 1;
    }
    if (!__any_sync(~0u, is_higher)) return;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      int column = INT_MAX;  // the lowest of equal maxima
#pragma unroll
      for (int j = NI - 1; j >= 0; --j)
#pragma unroll
        for (int odd = 1; odd >= 0; --odd)
          if (scores[r / 2][j][r % 2 * 2 + odd] == highest[r]) column = j * 8 + column_of(odd);
      column = quad_reduce(column, [](int a, int b) { return a < b ? a : b; });
      if (highest[r] > maximum[r]) {
        rescale[r] = power_of_two((maximum[r] - highest[r]) * log2_scale);
        maximum[r] = highest[r];
        rank[r] = first + column;
      }
    }
  }
};

// One row's results.
template <class T, int DV>
struct RowResult {
  T maximum, mass, warped[DV > 0 ? DV : 1];
  int rank;  // within the class

  // Adds the result of the keys that follow. Of equal maxima the first stays.
  __device__ void merge(const RowResult& next, T log2_scale) {
    if (next.maximum == -infinity<T>() && next.mass == 0) return;  // it had no keys
    const bool is_higher = next.maximum > maximum;
    T own = 1, other = 1;
    if constexpr (DV > 0) {
      if (is_higher)
        own = power_of_two((maximum - next.maximum) * log2_scale);
      else
        other = power_of_two((next.maximum - maximum) * log2_scale);
    }
    mass = mass * own + next.mass * other;
#pragma unroll
    for (int d = 0; d < DV; ++d) warped[d] = warped[d] * own + next.warped[d] * other;
    if (is_higher) maximum = next.maximum, rank = next.rank;
  }
};

// Writes rows to their positions.
template <class T, int DV>
struct RowWriter {
  const ForwardTask<T>& task;
  int64_t image;
  int chunk;       // of values
  int first_key;   // of the class
  bool has_scale;  // whether there is a temperature

  __device__ int first_value() const { return chunk * DV; }
  __device__ int64_t place(int rank) const {
    const Positions& positions = task.query.positions;
    return image * positions.length + positions.position(image, rank);
  }

  __device__ void write_values(int64_t to, const T* warped, T scale) const {
#pragma unroll
    for (int d = 0; d < DV; ++d)
      if (first_value() + d < task.values)
        task.warped[to * task.values + first_value() + d] = warped ? warped[d] * scale : 0;
  }

  __device__ void write(int rank, const RowResult<T, DV>& row) const {
    const int64_t to = place(rank);
    const T nan = T(NAN);
    const bool is_spoiled = !(row.mass - row.mass == 0) || !(row.maximum - row.maximum == 0);
    const T maximum = is_spoiled ? nan : row.maximum;
    if constexpr (DV > 0)
      write_values(to, row.warped, has_scale && !is_spoiled ? 1 / row.mass : nan);
    if (chunk > 0) return;
    task.similarity[to] = maximum;
    task.index[to] = task.key.positions.position(image, first_key + row.rank);
    if constexpr (DV > 0) {
      const T log_mass = has_scale && !is_spoiled ? log(row.mass) : nan;
      task.log_mass[to] = log_mass;
      task.lse[to] = maximum / task.temperature.value() + log_mass;
    }
  }

  __device__ void write_unrelated(int rank) const {
    const int64_t to = place(rank);
    if constexpr (DV > 0) write_values(to, nullptr, 0);
    if (chunk > 0) return;
    task.similarity[to] = 0;
    task.index[to] = -1;
    if constexpr (DV > 0) task.log_mass[to] = task.lse[to] = -infinity<T>();
  }
};

// Where the sums of one row of one split lie.
template <class T, int DV>
struct PartialRow {
  T* sums;
  int* rank;

  __device__ PartialRow(const ForwardTask<T>& task, int chunk, int split, int64_t row) {
    const int64_t rows = int64_t(task.images) * task.query.positions.length;
    const int64_t at = (int64_t(chunk) * task.partials.splits + split) * rows + row;
    sums = task.partials.sums + at * (2 + DV);
    rank = task.partials.rank + at;
  }

  __device__ void write(const RowResult<T, DV>& row) const {
    sums[0] = row.maximum;
    sums[1] = row.mass;
#pragma unroll
    for (int d = 0; d < DV; ++d) sums[2 + d] = row.warped[d];
    *rank = row.rank;
  }

  // Volatile, and so past the first-level cache, which does not see what other multiprocessors
  // write.
  __device__ RowResult<T, DV> read() const {
    const volatile T* from = sums;
    RowResult<T, DV> row;
    row.maximum = from[0];
    row.mass = from[1];
#pragma unroll
    for (int d = 0; d < DV; ++d) row.warped[d] = from[2 + d];
    row.rank = *static_cast<const volatile int*>(rank);
    return row;
  }
};

// Whether this block is the last of `count` to arrive, and so sees what the others wrote.
__device__ inline bool is_last_to_arrive(int* counter, int count) {
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(counter, 1) == count - 1;
  __syncthreads();
  __threadfence();
  return is_last;
}

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

template <class T, int MI, int NI>
__device__ inline void mask_columns(T (&scores)[MI][NI][4], int columns) {
#pragma unroll
  for (int j = 0; j < NI; ++j)
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
      if (j * 8 + column_of(odd) < columns) continue;
#pragma unroll
      for (int i = 0; i < MI; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) scores[i][j][half * 2 + odd] = -infinity<T>();
    }
}

template <int MI, class T>
using ForwardStream = SliceStream<64 * MI, tile_keys<T>, forward_threads>;

// Blocks: x: tile of 64 MI queries and split of its keys; y: DV values; z: image.
// A warp has 16 MI rows of the tile and all keys of a step.
template <class Product, int MI, int DV>
__global__ void __launch_bounds__(forward_threads, 2)
    forward_kernel(ForwardTask<typename Product::Sum> task, SlicePlan plan) {
  using T = typename Product::Sum;
  constexpr int tile_queries = 64 * MI, warp_rows = 16 * MI, R = 2 * MI;
  constexpr int tile_keys = spcolor::tile_keys<T>, NI = tile_keys / 8;
  SPCOLOR_SHARED(unsigned char, memory);
  const int number = blockIdx.x / task.partials.splits, split = blockIdx.x % task.partials.splits;
  const int chunk = blockIdx.y;
  const int64_t image = blockIdx.z;
  const Positions &queries = task.query.positions, &keys = task.key.positions;
  const Tile tile = find_tile(queries, image, number, tile_queries);
  if (tile.segment < 0) return;
  const Range range = tile.segment < keys.classes ? keys.range(image, tile.segment) : Range{0, 0};
  const RowWriter<T, DV> writer{task, image, chunk, range.first, task.temperature.value() > 0};
  if (range.size() == 0) {
    if (split == 0)
      for (int row = threadIdx.x; row < tile.rows; row += forward_threads)
        writer.write_unrelated(tile.first + row);
    return;
  }
  const int tiles = (range.size() + tile_keys - 1) / tile_keys;
  const int most = (range.size() + least_split_keys - 1) / least_split_keys;
  const int splits = task.partials.splits < most ? task.partials.splits : most;
  if (split >= splits) return;

  const int first_tile = int(int64_t(tiles) * split / splits);
  const int end_tile = int(int64_t(tiles) * (split + 1) / splits);
  ForwardStream<MI, T> stream(memory, plan, task.query.from(image, tile.first, tile.rows),
                              task.key.from(image, range.first, range.size()), first_tile,
                              end_tile);
  const int first_row = threadIdx.x / 32 * warp_rows;  // of this warp
  const T log2_scale = task.temperature.log2_scale();
  const int64_t first_query = image * queries.length + tile.first;
  const int64_t first_key = image * keys.length + range.first;
  RowState<T, R, DV> state;
  for (int t = first_tile; t < end_tile; ++t) {
    T scores[MI][NI][4] = {};
    for (int slice = 0; slice < plan.slices; ++slice) {
      stream.next();
      Product::multiply(stream.left() + first_row * slice_bytes, stream.right(), scores);
    }
    const int first = t * tile_keys, columns = range.size() - first;
    if (task.query.scale)
      apply_scale(scores, task.query.scale + first_query + first_row, tile.rows - first_row,
                  task.key.scale + first_key + first, columns);
    if constexpr (DV == 0) state.add_poison(scores);
    if (columns < tile_keys) mask_columns(scores, columns);
    const T* value =
        DV > 0 ? task.value + (first_key + first) * task.padded_values + writer.first_value()
               : nullptr;
    state.add(scores, first, columns, value, task.padded_values, log2_scale);
  }
  state.finish();

  const auto for_each_row = [&](const auto& f) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int row = first_row + r / 2 * 16 + row_of(r % 2 * 2);
      if (threadIdx.x % 4 == 0 && row < tile.rows) f(r, row);
    }
  };
  const auto result = [&](int r) {
    RowResult<T, DV> row{state.maximum[r], state.mass[r], {}, state.rank[r]};
#pragma unroll
    for (int d = 0; d < DV; ++d) row.warped[d] = state.warped[r][d];
    return row;
  };
  if (splits == 1) {
    for_each_row([&](int r, int row) { writer.write(tile.first + row, result(r)); });
    return;
  }
  for_each_row([&](int r, int row) {
    PartialRow<T, DV>(task, chunk, split, first_query + row).write(result(r));
  });
  const int64_t tile_at = (image * gridDim.y + chunk) * (gridDim.x / task.partials.splits) + number;
  if (!is_last_to_arrive(task.partials.counters + tile_at, splits)) return;
  for_each_row([&](int, int row) {
    RowResult<T, DV> merged = PartialRow<T, DV>(task, chunk, 0, first_query + row).read();
    for (int s = 1; s < splits; ++s)
      merged.merge(PartialRow<T, DV>(task, chunk, s, first_query + row).read(), log2_scale);
    writer.write(tile.first + row, merged);
  });
}

}  // namespace spcolor
