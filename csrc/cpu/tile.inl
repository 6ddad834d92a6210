// The microkernel: scores of one query panel against one key panel.
// Included inside namespace spcolor::<level>.
#pragma once

#include "simd.inl"

// Query rows of a tile; two vectors of keys. The accumulators, two key vectors and one broadcast
// must fit the registers: 12 * 2 + 3 of 32, or 6 * 2 + 3 of 16.
constexpr int query_width = SPCOLOR_VECTOR_BYTES == 64 ? 12 : 6;

template <class T>
constexpr int key_width = 2 * Simd<T>::lanes;

// Scores of a tile, row by row; keys that the panel lacks score -infinity.
template <class T>
struct Tile {
  alignas(64) T scores[query_width * key_width<T>];

  SPCOLOR_INLINE Vector<T> low(int r) const { return load(scores + r * key_width<T>); }
  SPCOLOR_INLINE Vector<T> high(int r) const {
    return load(scores + r * key_width<T> + Simd<T>::lanes);
  }
};

// Never inlined: what its caller keeps in registers would spill the accumulators.
template <class T>
__attribute__((noinline)) void multiply(const T* query, const T* key, int64_t channels,
                                        int64_t keys, Tile<T>& tile) {
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  Vector<T> low[query_width] = {}, high[query_width] = {};
  for (int64_t c = 0; c < channels; ++c) {
    const Vector<T> k0 = load(key + c * width), k1 = load(key + c * width + W);
#pragma GCC unroll 12
    for (int r = 0; r < query_width; ++r) {
      const Vector<T> q = splat<T>(query[c * query_width + r]);
      low[r] += q * k0;
      high[r] += q * k1;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < query_width; ++r) {
    store<T>(tile.scores + r * width, low[r]);
    store<T>(tile.scores + r * width + W, high[r]);
  }
  if (keys < width)
    for (int r = 0; r < query_width; ++r)
      for (int64_t j = keys; j < width; ++j) tile.scores[r * width + j] = -T(__builtin_inf());
}
