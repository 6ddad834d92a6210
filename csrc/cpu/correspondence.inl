// Maximum, softmax and warped values of query rows against the keys of their class, in one pass.
// Included inside namespace spcolor::<level>.
#pragma once

#include "tile.inl"

// A weight below 2^-dropped_bits of the row's largest is not computed: with m keys the row's mass
// is off by at most m * 2^-dropped_bits, far inside what rounding costs.
template <class T>
constexpr T dropped_bits = sizeof(T) == 4 ? 36 : 72;

// Exponents are taken against a reference that follows the running maximum at this distance, so
// that few new maxima rescale the sums.
template <class T>
constexpr T slack_bits = 8;

// What a query row knows of the keys seen so far, beside its sums.
template <class T>
struct RunningRow {
  T maximum, reference, threshold;
  int32_t rank;
};

// The tiles of a strip's row that hold a score above a threshold, by their first column.
struct Tiles {
  int count;
  int16_t first[strip_keys];
};

template <class T>
SPCOLOR_INLINE void find_tiles_above(const T* scores, int64_t keys, T threshold, Tiles& tiles) {
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  Vector<T> tops[strip_keys / width], top = splat<T>(-T(__builtin_inf()));
  for (int64_t j = 0; j < keys; j += width) {
    tops[j / width] = larger<T>(load(scores + j), load(scores + j + W));
    top = larger<T>(top, tops[j / width]);
  }
  tiles.count = 0;
  if (!mask_greater(top, splat<T>(threshold))) return;
  for (int64_t j = 0; j < keys; j += width) {
    tiles.first[tiles.count] = int16_t(j);  // without a branch: above and below alternate at random
    tiles.count += mask_greater(tops[j / width], splat<T>(threshold)) != 0;
  }
}

// A number below x by an ulp or two.
template <class T>
SPCOLOR_INLINE T just_below(T x) {
  constexpr T epsilon = sizeof(T) == 4 ? T(0x1p-23) : T(0x1p-52);
  return x - (x < 0 ? -x : x) * epsilon - T(sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022);
}

template <class T>
SPCOLOR_INLINE void update_maximum(const T* scores, const Tiles& tiles, int64_t first_key,
                                   RunningRow<T>& row) {
  constexpr int W = Simd<T>::lanes;
  for (int t = 0; t < tiles.count; ++t)
    for (int half = 0; half < 2; ++half) {
      const int first = tiles.first[t] + half * W;
      if (!mask_greater(load(scores + first), splat<T>(row.maximum))) continue;
      for (int j = first; j < first + W; ++j)
        if (scores[j] > row.maximum) {
          row.maximum = scores[j];
          row.rank = int32_t(first_key + j);
        }
    }
}

// Takes the row's sums [vectors, lanes] to the new maximum as reference.
template <class T>
SPCOLOR_INLINE void rescale(RunningRow<T>& row, T log2_scale, int64_t vectors, T* sums) {
  const Vector<T> factor = exp2<T>(splat<T>((row.reference - row.maximum) * log2_scale));
  for (int64_t v = 0; v < vectors; ++v) {
    T* sum = sums + v * Simd<T>::lanes;
    store<T>(sum, load(sum) * factor);
  }
  row.reference = row.maximum;
}

// sums [1 + D, lanes] += (1, values) weighted with exp2((s - reference) log2_scale), lane by lane.
// The scores of the tiles become their weights. values: panels [D, key_width].
template <class T>
SPCOLOR_INLINE void add_weighted(T* scores, const Tiles& tiles, const T* values, int64_t count,
                                 T reference, T log2_scale, T* sums) {
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  Vector<T> mass = load(sums);
  for (int t = 0; t < tiles.count; ++t) {
    T* s = scores + tiles.first[t];
    const Vector<T> p0 = exp2<T>((load(s) - reference) * log2_scale);
    const Vector<T> p1 = exp2<T>((load(s + W) - reference) * log2_scale);
    store<T>(s, p0);
    store<T>(s + W, p1);
    mass += p0 + p1;
  }
  store<T>(sums, mass);
  for (int64_t d = 0; d < count; ++d) {
    Vector<T> low = load(sums + (1 + d) * W), high{};
    for (int t = 0; t < tiles.count; ++t) {
      const T *p = scores + tiles.first[t], *v = values + tiles.first[t] * count + d * width;
      low += load(p) * load(v);
      high += load(p + W) * load(v + W);
    }
    store<T>(sums + (1 + d) * W, low + high);
  }
}

// Adds a strip's row to what its query row knows. first_key: the strip's first rank in the class.
template <class T>
SPCOLOR_INLINE void add_row(const ForwardTask<T>& task, T distance, T* scores, int64_t first_key,
                            int64_t keys, RunningRow<T>& row, T* sums) {
  Tiles tiles;
  find_tiles_above(scores, keys, row.threshold, tiles);
  if (tiles.count == 0) return;
  const bool is_first = row.maximum == -T(__builtin_inf());
  update_maximum(scores, tiles, first_key, row);
  row.threshold = row.maximum - distance;
  if (!task.value) return;
  // At a tiny temperature the distance is less than rounding, and without one it is no number:
  // equal and larger maxima must still be seen.
  if (!(row.threshold < row.maximum)) row.threshold = just_below(row.maximum);
  if (is_first)
    row.reference = row.maximum;
  else if ((row.maximum - row.reference) * task.log2_scale > slack_bits<T>)
    rescale(row, task.log2_scale, 1 + task.values, sums);
  add_weighted(scores, tiles, task.value + first_key * task.values, task.values, row.reference,
               task.log2_scale, sums);
}

template <class T>
void forward(const ForwardTask<T>& task) {
  constexpr int W = Simd<T>::lanes;
  constexpr int64_t block_bytes = 256 * 1024;  // keys that stay in the second-level cache
  const int64_t strip_bytes = task.channels * strip_keys * int64_t(sizeof(T));
  const int64_t block = strip_keys * (strip_bytes < block_bytes ? block_bytes / strip_bytes : 1);
  const int64_t sums_size = (1 + task.values) * W;
  const T distance = task.value ? dropped_bits<T> / task.log2_scale : 0;
  RunningRow<T>* running = reinterpret_cast<RunningRow<T>*>(task.state + task.rows * sums_size);

  for (int64_t i = 0; i < task.rows; ++i)
    running[i] = {-T(__builtin_inf()), 0, -T(__builtin_inf()), 0};
  if (task.value)
    for (int64_t i = 0; i < task.rows * sums_size; ++i) task.state[i] = 0;

  Strip<T> strip;
  for (int64_t block_begin = 0; block_begin < task.m; block_begin += block) {
    const int64_t block_end = task.m - block_begin < block ? task.m : block_begin + block;
    for (int64_t first = 0; first < task.rows; first += query_width)
      for (int64_t j = block_begin; j < block_end; j += strip_keys) {
        const int64_t keys = block_end - j < strip_keys ? block_end - j : strip_keys;
        multiply_strip(task.query + first * task.channels, task.key + j * task.channels,
                       task.channels, keys, strip);
        for (int r = 0; r < query_width && first + r < task.rows; ++r)
          add_row(task, distance, strip.row(r), j, keys, running[first + r],
                  task.state + (first + r) * sums_size);
      }
  }

  for (int64_t i = 0; i < task.rows; ++i) {
    const RunningRow<T>& row = running[i];
    task.maximum[i] = row.maximum;
    task.rank[i] = row.rank;
    if (!task.value) continue;
    const T* sums = task.state + i * sums_size;
    const T mass = horizontal_sum<T>(load(sums));
    task.mass[i] = mass * exp2<T>(splat<T>((row.reference - row.maximum) * task.log2_scale))[0];
    for (int64_t d = 0; d < task.values; ++d)
      task.warped[i * task.values + d] = horizontal_sum<T>(load(sums + (1 + d) * W)) / mass;
  }
}

template <class T>
void scores(const ForwardTask<T>& task, T* out) {
  Strip<T> strip;
  for (int64_t first = 0; first < task.rows; first += query_width)
    for (int64_t j = 0; j < task.m; j += strip_keys) {
      const int64_t keys = task.m - j < strip_keys ? task.m - j : strip_keys;
      multiply_strip(task.query + first * task.channels, task.key + j * task.channels,
                     task.channels, keys, strip);
      for (int r = 0; r < query_width && first + r < task.rows; ++r)
        for (int64_t l = 0; l < keys; ++l) out[(first + r) * task.m + j + l] = strip.row(r)[l];
    }
}
