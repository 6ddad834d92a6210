// What a CPU level (AVX-512, AVX2, portable) offers to the operators: one table of functions.
//
// Dimensions: C channels, D values, n query and m key positions of one class of one image.
// "Unit vectors" are features after centring and normalising, whichever of the two is asked for.
// A panel is a block of `width` positions stored channel by channel, [C, width], so that a
// microkernel streams through it; positions that a last panel lacks are 0.
#pragma once

#include <cstdint>

namespace spcolor {

enum class Element { float32, float64, bfloat16, float16 };

// Positions of one class of one image, in class order, inside a strided tensor.
struct Positions {
  const void* data;  // the image's first element
  Element element;
  int64_t stride, channel_stride;  // in elements
  const int32_t* order;            // [n], ranks to positions; null: rank r is position r
};

template <class T>
struct PackTask {
  Positions source;
  int64_t count, channels, width;
  const T* mean;  // [C], or null
  bool normalize;
  T relative_zero;
  T* panels;           // [ceil(count / width), C, width]
  T* rows;             // [count, row_stride] unit vectors, zero-padded, or null
  int64_t row_stride;  // a multiple of `row_alignment`
  T* scale;            // [count]: 1 / norm, 0 for a zero vector, NaN for a non-finite one
  T* scratch;          // [width, channels + pack_padding]
};

template <class T>
struct ForwardTask {
  const T* query;  // [ceil(rows / query_width), C, query_width]
  const T* key;    // [ceil(m / key_width), C, key_width]
  const T* value;  // [ceil(m / key_width), D, key_width]; null: only the maximum is wanted
  int64_t rows, m, channels, values;
  T log2_scale;   // log2(e) / temperature
  T* maximum;     // [rows]
  int32_t* rank;  // [rows] first rank of the maximum within the class
  T* mass;        // [rows] sum_j exp((s_ij - maximum) / temperature)
  T* warped;      // [rows, D]
  T* state;       // [rows, (1 + D) * lanes] sums, then 4 numbers for each row
};

// Gradient of the scores of a rectangle of one class, spread onto its query and key rows.
template <class T>
struct BackwardTask {
  const T* query;       // panels of the rectangle's rows, as in ForwardTask
  const T* key;         // panels of the rectangle's keys
  const T* value;       // [ceil(m / key_width), D, key_width]; null: no softmax gradient
  const T* query_rows;  // [rows, row_stride] unit vectors
  const T* key_rows;    // [m, row_stride]
  int64_t rows, m, channels, values, row_stride;
  int64_t first_key;  // rank of the rectangle's first key within the class
  T log2_scale, inverse_temperature;
  const T* maximum;          // [rows]
  const T* log2_mass;        // [rows]
  const T* threshold;        // [rows] scores at or below it have weights below the cutoff
  const T* grad_warped;      // [rows, D]
  const T* offset;           // [rows] grad_lse - grad_warped . warped
  const T* grad_similarity;  // [rows], or null
  const int32_t* rank;       // [rows]
  const T* grad_scores;      // [rows, grad_scores_stride] given score gradients, or null
  int64_t grad_scores_stride;
  T* grad_query_rows;  // [rows, row_stride], added to
  T* grad_key_rows;    // [m, row_stride], added to
  T* grad_value;       // panels like value, added to; or null
  T* score_gradient;   // [rows] sum_j ds_ij (s_ij - maximum_i) of the softmax part, added to; or
                       // null
  void* scratch;       // backward_scratch_bytes
};

template <class T>
struct Kernels {
  const char* level;
  int64_t query_width, key_width, lanes;

  // rows [count, stride] = positions first .. first + count.
  void (*gather)(const Positions& source, int64_t first, int64_t count, int64_t channels, T* rows,
                 int64_t stride);
  // Adds x_r - x_0 into sum [C] for r in first .. first + count: exactly 0 where all are equal.
  void (*sum_positions)(const Positions& source, int64_t first, int64_t count, int64_t channels,
                        T* sum);
  void (*pack_features)(const PackTask<T>& task);
  void (*pack_values)(const PackTask<T>& task);
  void (*forward)(const ForwardTask<T>& task);
  // Writes the scores [rows, m] of packed unit vectors.
  void (*scores)(const ForwardTask<T>& task, T* scores);
  void (*backward)(const BackwardTask<T>& task);
  // In place: gradient of unit vectors -> gradient of centred features; adds the rows into sum [C].
  void (*normalize_backward)(T* grad_rows, const T* unit_rows, const T* scale, int64_t count,
                             int64_t row_stride, bool normalize, T* sum);
  // Writes grad_rows - mean to the positions of `target`.
  void (*scatter_rows)(const T* grad_rows, const T* mean, int64_t count, int64_t channels,
                       int64_t row_stride, const Positions& target);
};

constexpr int64_t pack_padding = 16;   // keeps scratch rows off the same cache sets
constexpr int64_t row_alignment = 16;  // lanes of the widest vector
constexpr int64_t backward_rows = 48;  // rectangle that a backward works through at a time,
constexpr int64_t backward_keys = 64;  // multiples of every panel width
constexpr int64_t backward_scratch_bytes = 128 * 1024;

namespace avx512 {
template <class T>
const Kernels<T>& kernels();
}
namespace avx2 {
template <class T>
const Kernels<T>& kernels();
}
namespace portable {
template <class T>
const Kernels<T>& kernels();
}

// The table of the best level that this processor has, or of the one that SPCOLOR_CPU_LEVEL names.
template <class T>
const Kernels<T>& kernels();

}  // namespace spcolor
