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

// What a query row has accumulated, lane by lane, over the keys seen so far.
template <class T>
struct RunningRow {
  T maximum, reference, threshold;
  int32_t rank;
};

template <class T>
SPCOLOR_INLINE void update_maximum(const Tile<T>& tile, int r, int64_t first_key,
                                   RunningRow<T>& row) {
  constexpr int width = key_width<T>;
  const T* scores = tile.scores + r * width;
  for (int j = 0; j < width; ++j)
    if (scores[j] > row.maximum) {
      row.maximum = scores[j];
      row.rank = int32_t(first_key + j);
    }
}

template <class T>
SPCOLOR_INLINE void rescale(RunningRow<T>& row, T log2_scale, int64_t vectors, T* sums) {
  const Vector<T> factor = exp2<T>(splat<T>((row.reference - row.maximum) * log2_scale));
  for (int64_t v = 0; v < vectors; ++v) {
    T* sum = sums + v * Simd<T>::lanes;
    store<T>(sum, load(sum) * factor);
  }
  row.reference = row.maximum;
}

// sums [1 + D, lanes] += (1, values) weighted with exp2((s - reference) log2_scale).
template <class T>
SPCOLOR_INLINE void add_weighted(const Tile<T>& tile, int r, const T* values, int64_t count,
                                 T reference, T log2_scale, T* sums) {
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  const Vector<T> p0 = exp2<T>((tile.low(r) - reference) * log2_scale);
  const Vector<T> p1 = exp2<T>((tile.high(r) - reference) * log2_scale);
  store<T>(sums, load(sums) + (p0 + p1));
  for (int64_t d = 0; d < count; ++d) {
    T* sum = sums + (1 + d) * W;
    store<T>(sum, load(sum) + p0 * load(values + d * width) + p1 * load(values + d * width + W));
  }
}

template <class T>
void forward(const ForwardTask<T>& task) {
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  constexpr int64_t block_bytes = 256 * 1024;  // keys that stay in the second-level cache
  const int64_t panel_bytes = task.channels * width * int64_t(sizeof(T));
  const int64_t block = width * (panel_bytes < block_bytes ? block_bytes / panel_bytes : 1);
  const int64_t sums_size = (1 + task.values) * W;
  const T distance = task.value ? dropped_bits<T> / task.log2_scale : 0;
  RunningRow<T>* running = reinterpret_cast<RunningRow<T>*>(task.state + task.rows * sums_size);

  for (int64_t i = 0; i < task.rows; ++i)
    running[i] = {-T(__builtin_inf()), 0, -T(__builtin_inf()), 0};
  if (task.value)
    for (int64_t i = 0; i < task.rows * sums_size; ++i) task.state[i] = 0;

  Tile<T> tile;
  for (int64_t block_begin = 0; block_begin < task.m; block_begin += block) {
    const int64_t block_end = task.m - block_begin < block ? task.m : block_begin + block;
    for (int64_t first = 0; first < task.rows; first += query_width) {
      const int64_t left = task.rows - first;
      const int rows = left < query_width ? int(left) : query_width;
      for (int64_t j = block_begin; j < block_end; j += width) {
        multiply(task.query + first * task.channels, task.key + j * task.channels, task.channels,
                 task.m - j, tile);
        for (int r = 0; r < rows; ++r) {
          RunningRow<T>& row = running[first + r];
          const Vector<T> top = larger<T>(tile.low(r), tile.high(r));
          if (!mask_greater(top, splat<T>(row.threshold))) continue;
          T* sums = task.state + (first + r) * sums_size;
          if (mask_greater(top, splat<T>(row.maximum))) {
            const bool is_first = row.maximum == -T(__builtin_inf());
            update_maximum(tile, r, j, row);
            row.threshold = row.maximum - distance;
            if (is_first)
              row.reference = row.maximum;
            else if (task.value && (row.maximum - row.reference) * task.log2_scale > slack_bits<T>)
              rescale(row, task.log2_scale, 1 + task.values, sums);
          }
          if (task.value)
            add_weighted(tile, r, task.value + j * task.values, task.values, row.reference,
                         task.log2_scale, sums);
        }
      }
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
  constexpr int width = key_width<T>;
  Tile<T> tile;
  for (int64_t first = 0; first < task.rows; first += query_width)
    for (int64_t j = 0; j < task.m; j += width) {
      const int64_t keys = task.m - j < width ? task.m - j : width;
      multiply(task.query + first * task.channels, task.key + j * task.channels, task.channels,
               keys, tile);
      for (int64_t r = 0; r < query_width && first + r < task.rows; ++r)
        for (int64_t l = 0; l < keys; ++l)
          out[(first + r) * task.m + j + l] = tile.scores[r * width + l];
    }
}
