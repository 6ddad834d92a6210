// The running maximum and softmax of the rows that a thread's scores belong to.
#pragma once

#include <climits>
#include <cmath>

#include "product.cuh"

namespace spcolor {

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

// Running maximum of a thread's R rows, and where it is: of the whole row.
template <class T, int R>
struct RowMaximum {
  T maximum[R];
  int rank[R];

  __device__ RowMaximum() {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      maximum[r] = -infinity<T>();
      rank[r] = 0;
    }
  }

  // Takes a tile of scores, whose first column has this rank. rescale [R]: by how much the sums so
  // far shrink. The column is looked for only where some row of the warp has a new maximum, which
  // gets rare, and among a quarter of the columns at a time.
  template <int NI>
  __device__ void raise(const T (&scores)[R / 2][NI][4], int first, T log2_scale, T (&rescale)[R]) {
    T highest_of[R][4], highest[R];
    bool is_higher = false;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int q = 0; q < 4; ++q) highest_of[r][q] = quarter_maximum(scores, r, q);
      const T own =
          fmax(fmax(highest_of[r][0], highest_of[r][1]), fmax(highest_of[r][2], highest_of[r][3]));
      highest[r] = quad_reduce(own, [](T a, T b) { return fmax(a, b); });
      is_higher |= highest[r] > maximum[r];
      rescale[r] = 1;
    }
    if (!__any_sync(~0u, is_higher)) [[likely]]
      return;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (!__any_sync(~0u, highest[r] > maximum[r])) continue;
      const int column = first_column(scores, r, highest_of[r], highest[r]);
      if (highest[r] > maximum[r]) {
        rescale[r] = power_of_two((maximum[r] - highest[r]) * log2_scale);
        maximum[r] = highest[r];
        rank[r] = first + column;
      }
    }
  }

 private:
  template <int NI>
  static __device__ T quarter_maximum(const T (&scores)[R / 2][NI][4], int r, int quarter) {
    static_assert(NI % 4 == 0);
    T highest = -infinity<T>();
#pragma unroll
    for (int j = quarter * (NI / 4); j < (quarter + 1) * (NI / 4); ++j)
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) highest = fmax(highest, scores[r / 2][j][r % 2 * 2 + odd]);
    return highest;
  }

  // The lowest of the columns whose score is the highest of the row.
  template <int NI>
  static __device__ int first_column(const T (&scores)[R / 2][NI][4], int r,
                                     const T (&highest_of)[4], T highest) {
    int column = INT_MAX;
#pragma unroll
    for (int quarter = 3; quarter >= 0; --quarter) {
      if (!__any_sync(~0u, highest_of[quarter] == highest)) continue;
#pragma unroll
      for (int j = (quarter + 1) * (NI / 4) - 1; j >= quarter * (NI / 4); --j)
#pragma unroll
        for (int odd = 1; odd >= 0; --odd)
          if (scores[r / 2][j][r % 2 * 2 + odd] == highest) column = j * 8 + column_of(odd);
    }
    return quad_reduce(column, [](int a, int b) { return a < b ? a : b; });
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

// Maximum, softmax mass and weighted values of a thread's R rows. mass and warped cover the
// thread's own columns until `finish`.
template <class T, int R, int DV>
struct RowState : RowMaximum<T, R> {
  static constexpr int value_count = DV > 0 ? DV : 1;
  using RowMaximum<T, R>::maximum;
  T mass[R] = {}, warped[R][value_count] = {};

  // Adds scores [R / 2 blocks][NI blocks], -infinity beyond `columns` where the tile is partial.
  // first is the first column's rank, value its key's values, those of the next are `pitch` on.
  template <bool is_partial, int NI>
  __device__ void add(const T (&scores)[R / 2][NI][4], int first, int columns, const T* value,
                      int pitch, T log2_scale) {
    T rescale[R];
    this->raise(scores, first, log2_scale, rescale);
    if constexpr (DV > 0) {
      // Sums of one tile are added up first: their rounding errors do not pile up over the tiles.
      T tile_mass[R] = {}, tile_warped[R][DV] = {};
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
          int column = j * 8 + column_of(odd);
          // Beyond the columns any value of the class will do: its weight is 0.
          if (is_partial && column >= columns) column = 0;
          T v[DV];
          load_value(value + column * pitch, v);
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

  __device__ RowResult<T, DV> result(int r) const {
    RowResult<T, DV> row{maximum[r], mass[r], {}, this->rank[r]};
#pragma unroll
    for (int d = 0; d < DV; ++d) row.warped[d] = warped[r][d];
    return row;
  }

 private:
  static __device__ void load_value(const T* value, T (&v)[value_count]) {
    constexpr int chunk = chunk_bytes / int(sizeof(T));
    struct alignas(chunk_bytes) Chunk {
      T x[chunk];
    };
#pragma unroll
    for (int d = 0; d < DV; d += chunk) {
      const Chunk part = reinterpret_cast<const Chunk*>(value)[d / chunk];
#pragma unroll
      for (int i = 0; i < chunk && d + i < DV; ++i) v[d + i] = part.x[i];
    }
  }
};

}  // namespace spcolor
