// The microkernel: scores of one query panel against one key panel.
// Included inside namespace spcolor::<level>.
#pragma once

#include "simd.inl"

// Query rows of a tile; two vectors of keys. The accumulators, two key vectors and one broadcast
// must fit the registers: 12 * 2 + 3 of 32, or 6 * 2 + 3 of 16.
constexpr int query_width = SPCOLOR_VECTOR_BYTES == 64 ? 12 : 6;

template <class T>
constexpr int key_width = 2 * Simd<T>::lanes;

// Scores of one query panel against a strip of keys, row by row; keys beyond the last score
// -infinity.
constexpr int strip_keys = 128;

template <class T>
struct Strip {
  alignas(64) T scores[query_width * strip_keys];

  SPCOLOR_INLINE T* row(int r) { return scores + r * strip_keys; }
};

// scores [query_width, strip_keys], columns 0..key_width = one tile of query . key.
// Never inlined: what its caller keeps in registers would spill the accumulators.
template <class T>
__attribute__((noinline)) void multiply(const T* query, const T* key, int64_t channels, T* scores) {
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  Vector<T> low[query_width] = {}, high[query_width] = {};
  constexpr int ahead = 32;  // channels; past the end of this tile lies the next one
  for (int64_t c = 0; c < channels; ++c) {
    __builtin_prefetch(key + (c + ahead) * width);
    __builtin_prefetch(key + (c + ahead) * width + W);
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
    store<T>(scores + r * strip_keys, low[r]);
    store<T>(scores + r * strip_keys + W, high[r]);
  }
}

// Fills the strip's columns 0..keys; the rest of the last tile is -infinity. keys <= strip_keys.
template <class T>
SPCOLOR_INLINE void multiply_strip(const T* query, const T* key, int64_t channels, int64_t keys,
                                   Strip<T>& strip) {
  constexpr int width = key_width<T>;
  for (int64_t j = 0; j < keys; j += width)
    multiply(query, key + j * channels, channels, strip.scores + j);
  const int64_t end = (keys + width - 1) / width * width;
  for (int r = 0; r < query_width && keys < end; ++r)
    for (int64_t j = keys; j < end; ++j) strip.row(r)[j] = -T(__builtin_inf());
}
