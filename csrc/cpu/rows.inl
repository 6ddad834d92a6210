// Features in, features' gradients out: gather into class order, centre, normalise, and back.
// Included inside namespace spcolor::<level>.
#pragma once

#include "tile.inl"

template <class T, class E>
SPCOLOR_INLINE T to(E x) {
  return static_cast<T>(x);
}
template <>
SPCOLOR_INLINE float to<float>(torch::headeronly::BFloat16 x) {
  const uint32_t bits = uint32_t(x.x) << 16;
  float y;
  __builtin_memcpy(&y, &bits, sizeof(y));
  return y;
}

// rows [count, stride] = positions first .. first + count; the loop over the nearer axis is inner.
template <class T, class E>
void gather(const Positions& source, int64_t first, int64_t count, int64_t channels, T* rows,
            int64_t stride) {
  const E* data = static_cast<const E*>(source.data);
  if (source.channel_stride == 1) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t position = source.order ? source.order[first + r] : first + r;
      const E* x = data + position * source.stride;
      for (int64_t c = 0; c < channels; ++c) rows[r * stride + c] = to<T>(x[c]);
    }
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    const E* x = data + c * source.channel_stride;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t position = source.order ? source.order[first + r] : first + r;
      rows[r * stride + c] = to<T>(x[position * source.stride]);
    }
  }
}

template <class T>
void gather(const Positions& source, int64_t first, int64_t count, int64_t channels, T* rows,
            int64_t stride) {
  switch (source.element) {
    case Element::float32:
      return gather<T, float>(source, first, count, channels, rows, stride);
    case Element::float64:
      return gather<T, double>(source, first, count, channels, rows, stride);
    case Element::bfloat16:
      return gather<T, torch::headeronly::BFloat16>(source, first, count, channels, rows, stride);
    case Element::float16:
      return gather<T, torch::headeronly::Half>(source, first, count, channels, rows, stride);
  }
}

template <class T, class E>
void sum_positions(const Positions& source, int64_t first, int64_t count, int64_t channels,
                   T* sum) {
  const E* data = static_cast<const E*>(source.data);
  const auto position = [&](int64_t r) {
    return (source.order ? source.order[r] : r) * source.stride;
  };
  const E* origin = data + position(0);
  if (source.channel_stride == 1) {
    for (int64_t r = first; r < first + count; ++r) {
      const E* x = data + position(r);
      for (int64_t c = 0; c < channels; ++c) sum[c] += to<T>(x[c]) - to<T>(origin[c]);
    }
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t channel = c * source.channel_stride;
    const T subtrahend = to<T>(origin[channel]);
    T total = 0;
    for (int64_t r = first; r < first + count; ++r)
      total += to<T>(data[channel + position(r)]) - subtrahend;
    sum[c] += total;
  }
}

template <class T>
void sum_positions(const Positions& source, int64_t first, int64_t count, int64_t channels,
                   T* sum) {
  switch (source.element) {
    case Element::float32:
      return sum_positions<T, float>(source, first, count, channels, sum);
    case Element::float64:
      return sum_positions<T, double>(source, first, count, channels, sum);
    case Element::bfloat16:
      return sum_positions<T, torch::headeronly::BFloat16>(source, first, count, channels, sum);
    case Element::float16:
      return sum_positions<T, torch::headeronly::Half>(source, first, count, channels, sum);
  }
}

// Squared norms of a row before and after the mean is subtracted, which is done on the way.
template <class T>
struct SquaredNorms {
  T original, centred;
};

template <class T>
SPCOLOR_INLINE SquaredNorms<T> center_row(T* x, const T* mean, int64_t channels) {
  constexpr int W = Simd<T>::lanes;
  Vector<T> original{}, centred{};
  int64_t c = 0;
  for (; c + W <= channels; c += W) {
    Vector<T> v = load(x + c);
    original += v * v;
    if (mean) store<T>(x + c, v -= load(mean + c));
    centred += v * v;
  }
  SquaredNorms<T> norms = {horizontal_sum<T>(original), horizontal_sum<T>(centred)};
  for (; c < channels; ++c) {
    norms.original += x[c] * x[c];
    if (mean) x[c] -= mean[c];
    norms.centred += x[c] * x[c];
  }
  return norms;
}

// Returns the factor that makes a centred vector a unit vector: 0 for rounding noise, NaN if the
// vector is not finite.
template <class T>
SPCOLOR_INLINE T unit_scale(SquaredNorms<T> squared, const PackTask<T>& task) {
  constexpr T absolute_zero = T(1e-12);
  const T norm = square_root(squared.centred);
  if (!__builtin_isfinite(norm)) return T(__builtin_nan(""));
  if (!task.normalize) return 1;
  if (norm < absolute_zero) return 0;
  if (task.mean && norm <= task.relative_zero * square_root(squared.original)) return 0;
  return 1 / norm;
}

// Columns first.. of panel [channels, width] = rows [count, stride] transposed; count <= lanes.
template <int width, int count, class T>
SPCOLOR_INLINE void transpose_strip(const T* rows, int64_t stride, int64_t channels, T* panel) {
  constexpr int W = Simd<T>::lanes;
  for (int64_t c = 0; c < channels; c += W) {
    Vector<T> square[W] = {};
#pragma GCC unroll 16
    for (int r = 0; r < count; ++r) square[r] = load(rows + r * stride + c);
    transpose_square<T>(square);
#pragma GCC unroll 16
    for (int l = 0; l < W; ++l)
      if (c + l < channels)
        __builtin_memcpy(panel + (c + l) * width, &square[l], count * sizeof(T));
  }
}

// panel [channels, width] = rows [width, stride] transposed.
template <int width, int first = 0, class T>
SPCOLOR_INLINE void transpose(const T* rows, int64_t stride, int64_t channels, T* panel) {
  constexpr int W = Simd<T>::lanes, count = width - first < W ? width - first : W;
  transpose_strip<width, count>(rows + first * stride, stride, channels, panel + first);
  if constexpr (first + count < width)
    transpose<width, first + count>(rows, stride, channels, panel);
}

// Packs one panel that lies in scratch [width, channels + pack_padding], its missing rows as 0.
template <class T>
void pack_panel(const PackTask<T>& task, int64_t first, int64_t count) {
  const int64_t stride = task.channels + pack_padding;
  for (int64_t r = count; r < task.width; ++r)
    for (int64_t c = 0; c < stride; ++c) task.scratch[r * stride + c] = 0;
  T* panel = task.panels + first * task.channels;
  if (task.width == query_width)
    transpose<query_width>(task.scratch, stride, task.channels, panel);
  else
    transpose<key_width<T>>(task.scratch, stride, task.channels, panel);
}

template <class T>
void pack_features(const PackTask<T>& task) {
  const int64_t stride = task.channels + pack_padding;
  for (int64_t first = 0; first < task.count; first += task.width) {
    const int64_t count = task.count - first < task.width ? task.count - first : task.width;
    gather<T>(task.source, first, count, task.channels, task.scratch, stride);
    for (int64_t r = 0; r < count; ++r) {
      T* x = task.scratch + r * stride;
      const T scale = unit_scale(center_row(x, task.mean, task.channels), task);
      task.scale[first + r] = scale;
      if (scale != scale || scale == 0)  // not finite, or noise: the scale says which
        for (int64_t c = 0; c < task.channels; ++c) x[c] = 0;
      else
        for (int64_t c = 0; c < task.channels; ++c) x[c] *= scale;
      if (!task.rows) continue;
      T* row = task.rows + (first + r) * task.row_stride;
      for (int64_t c = 0; c < task.channels; ++c) row[c] = x[c];
      for (int64_t c = task.channels; c < task.row_stride; ++c) row[c] = 0;
    }
    pack_panel(task, first, count);
  }
}

template <class T>
void pack_values(const PackTask<T>& task) {
  const int64_t stride = task.channels + pack_padding;
  for (int64_t first = 0; first < task.count; first += task.width) {
    const int64_t count = task.count - first < task.width ? task.count - first : task.width;
    gather<T>(task.source, first, count, task.channels, task.scratch, stride);
    pack_panel(task, first, count);
  }
}

// With u = scale x: dx = scale (du - u (u . du)).
template <class T>
void normalize_backward(T* grad_rows, const T* unit_rows, const T* scale, int64_t count,
                        int64_t row_stride, bool normalize, T* sum) {
  constexpr int W = Simd<T>::lanes;
  for (int64_t r = 0; r < count; ++r) {
    T* grad = grad_rows + r * row_stride;
    const T* unit = unit_rows + r * row_stride;
    Vector<T> products{};
    if (normalize)
      for (int64_t c = 0; c < row_stride; c += W) products += load(grad + c) * load(unit + c);
    const T along = horizontal_sum<T>(products);
    for (int64_t c = 0; c < row_stride; c += W) {
      const Vector<T> x = scale[r] * (load(grad + c) - along * load(unit + c));
      store<T>(grad + c, x);
      store<T>(sum + c, load(sum + c) + x);
    }
  }
}

template <class T, class E>
void scatter(const T* grad_rows, const T* mean, int64_t count, int64_t channels, int64_t row_stride,
             const Positions& target) {
  E* data = static_cast<E*>(const_cast<void*>(target.data));
  for (int64_t r = 0; r < count; ++r) {
    E* x = data + (target.order ? target.order[r] : r) * target.stride;
    const T* grad = grad_rows + r * row_stride;
    for (int64_t c = 0; c < channels; ++c)
      x[c] = static_cast<E>(mean ? grad[c] - mean[c] : grad[c]);
  }
}

template <class T>
void scatter_rows(const T* grad_rows, const T* mean, int64_t count, int64_t channels,
                  int64_t row_stride, const Positions& target) {
  switch (target.element) {
    case Element::float32:
      return scatter<T, float>(grad_rows, mean, count, channels, row_stride, target);
    case Element::float64:
      return scatter<T, double>(grad_rows, mean, count, channels, row_stride, target);
    case Element::bfloat16:
      return scatter<T, torch::headeronly::BFloat16>(grad_rows, mean, count, channels, row_stride,
                                                     target);
    case Element::float16:
      return scatter<T, torch::headeronly::Half>(grad_rows, mean, count, channels, row_stride,
                                                 target);
  }
}
