// Features in, features' gradients out: gather into class order, centre, normalise, and back.
// Included inside namespace spcolor::<level>, after simd.inl.

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

template <class T>
void sum_positions(const Positions& source, int64_t count, int64_t channels, T* sum, T* scratch) {
  constexpr int64_t block = 8;
  const int64_t stride = channels + pack_padding;
  for (int64_t first = 0; first < count; first += block) {
    const int64_t rows = count - first < block ? count - first : block;
    gather<T>(source, first, rows, channels, scratch, stride);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < channels; ++c) sum[c] += scratch[r * stride + c];
  }
}

template <class T>
SPCOLOR_INLINE T squared_norm(const T* x, int64_t channels) {
  constexpr int W = Simd<T>::lanes;
  Vector<T> even{}, odd{};
  int64_t c = 0;
  for (; c + 2 * W <= channels; c += 2 * W) {
    const Vector<T> a = load(x + c), b = load(x + c + W);
    even += a * a;
    odd += b * b;
  }
  T sum = horizontal_sum<T>(even + odd);
  for (; c < channels; ++c) sum += x[c] * x[c];
  return sum;
}

// Returns the factor that makes a centred vector a unit vector: 0 for rounding noise, NaN if the
// vector is not finite. `original` is the squared norm before centring.
template <class T>
SPCOLOR_INLINE T unit_scale(T squared, T original, const PackTask<T>& task) {
  constexpr T absolute_zero = T(1e-12);
  const T norm = __builtin_sqrt(squared);
  if (!__builtin_isfinite(norm)) return T(__builtin_nan(""));
  if (!task.normalize) return 1;
  if (norm < absolute_zero) return 0;
  if (task.mean && norm <= task.relative_zero * __builtin_sqrt(original)) return 0;
  return 1 / norm;
}

// panel [channels, width] = rows [count, stride] transposed; missing rows are 0.
template <class T>
SPCOLOR_INLINE void transpose(const T* rows, int64_t stride, int64_t count, int64_t channels,
                              int64_t width, T* panel) {
  for (int64_t c = 0; c < channels; ++c) {
    T* column = panel + c * width;
    for (int64_t r = 0; r < count; ++r) column[r] = rows[r * stride + c];
    for (int64_t r = count; r < width; ++r) column[r] = 0;
  }
}

template <class T>
void pack_features(const PackTask<T>& task) {
  const int64_t stride = task.channels + pack_padding;
  for (int64_t first = 0; first < task.count; first += task.width) {
    const int64_t count = task.count - first < task.width ? task.count - first : task.width;
    gather<T>(task.source, first, count, task.channels, task.scratch, stride);
    for (int64_t r = 0; r < count; ++r) {
      T* x = task.scratch + r * stride;
      T original = 0;
      if (task.mean) {
        original = squared_norm(x, task.channels);
        for (int64_t c = 0; c < task.channels; ++c) x[c] -= task.mean[c];
      }
      const T scale = unit_scale(squared_norm(x, task.channels), original, task);
      // A vector that is not finite is stored as 0: its scale says what it was.
      const T factor = scale == scale ? scale : 0;
      for (int64_t c = 0; c < task.channels; ++c) x[c] = factor == 0 ? 0 : x[c] * factor;
      task.scale[first + r] = scale;
      if (!task.rows) continue;
      T* row = task.rows + (first + r) * task.row_stride;
      for (int64_t c = 0; c < task.channels; ++c) row[c] = x[c];
      for (int64_t c = task.channels; c < task.row_stride; ++c) row[c] = 0;
    }
    transpose(task.scratch, stride, count, task.channels, task.width,
              task.panels + first * task.channels);
  }
}

template <class T>
void pack_values(const PackTask<T>& task) {
  const int64_t stride = task.channels + pack_padding;
  for (int64_t first = 0; first < task.count; first += task.width) {
    const int64_t count = task.count - first < task.width ? task.count - first : task.width;
    gather<T>(task.source, first, count, task.channels, task.scratch, stride);
    transpose(task.scratch, stride, count, task.channels, task.width,
              task.panels + first * task.channels);
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
    for (int64_t c = 0; c < channels; ++c) x[c] = static_cast<E>(mean ? grad[c] - mean[c] : grad[c]);
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
