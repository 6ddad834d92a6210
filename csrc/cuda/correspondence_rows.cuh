// What a forward kernel is given, and where it writes the results of its rows.
#pragma once

#include "softmax.cuh"

namespace spcolor {

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

constexpr int least_split_keys = 256;  // that are worth a block of their own

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

}  // namespace spcolor
