// From the gradient of scores to those of unit vectors and values, element by element.
// Included inside namespace spcolor::<level>.
//
// At a temperature of 0.01 few softmax weights matter, but nearly every tile holds one that does.
// So a tile recomputes its scores, keeps the elements above the cutoff in lists, and each list adds
// weighted rows to one gradient row that stays in registers meanwhile.
#pragma once

#include "tile.inl"

// Elements of one row (or column) of a rectangle: other-side index and score gradient.
template <class T, int capacity>
struct ElementList {
  int32_t count;
  int16_t index[capacity];
  T weight[capacity];

  SPCOLOR_INLINE void push(int64_t other, T gradient) {
    index[count] = int16_t(other);
    weight[count++] = gradient;
  }
};

// A row may list its maximum twice, as a softmax element and as the maximum.
template <class T>
struct BackwardScratch {
  ElementList<T, backward_keys + 1> row[backward_rows];
  ElementList<T, 2 * backward_rows> column[backward_keys];
};

// out [U vectors] += sum over the list of weight * rows[index].
template <int U, class T, class List>
SPCOLOR_INLINE void add_row(const List& list, const T* rows, int64_t stride, T* out) {
  constexpr int W = Simd<T>::lanes;
  if (list.count == 0) return;
  Vector<T> sum[U];
#pragma GCC unroll 16
  for (int u = 0; u < U; ++u) sum[u] = load(out + u * W);
  for (int32_t e = 0; e < list.count; ++e) {
    const Vector<T> weight = splat<T>(list.weight[e]);
    const T* row = rows + list.index[e] * stride;
    asm(""
        : "+r"(row));  // one pointer with U displacements, not U pointers kept in spilled registers
#pragma GCC unroll 16
    for (int u = 0; u < U; ++u) sum[u] += weight * load(row + u * W);
  }
#pragma GCC unroll 16
  for (int u = 0; u < U; ++u) store<T>(out + u * W, sum[u]);
}

// out [count rows] += list of each row over `rows`. All lists take the same few channels before the
// next ones, so that those of `rows` stay in the first-level cache.
template <class T, class List>
SPCOLOR_INLINE void add_rows(const List* lists, int64_t count, const T* rows, int64_t stride,
                             T* out) {
  constexpr int W = Simd<T>::lanes, U = 8;  // sums that fit the registers of every level
  int64_t c = 0;
  for (; c + U * W <= stride; c += U * W)
    for (int64_t r = 0; r < count; ++r)
      add_row<U>(lists[r], rows + c, stride, out + r * stride + c);
  for (; c < stride; c += W)
    for (int64_t r = 0; r < count; ++r)
      add_row<1>(lists[r], rows + c, stride, out + r * stride + c);
}

// row and key count within the block.
template <class T>
SPCOLOR_INLINE void push(BackwardScratch<T>& scratch, int64_t row, int64_t key, T gradient) {
  scratch.row[row].push(key, gradient);
  scratch.column[key].push(row, gradient);
}

// Lists the softmax elements of one block row that are above the cutoff.
template <class T>
SPCOLOR_INLINE void push_softmax(const BackwardTask<T>& task, const T* scores, int64_t first_row,
                                 int64_t row_in_block, int64_t first_key, int64_t keys,
                                 BackwardScratch<T>& scratch) {
  const int64_t i = first_row + row_in_block;
  constexpr int W = Simd<T>::lanes, width = key_width<T>;
  const Vector<T> threshold = splat<T>(task.threshold[i]);
  const T* grad_warped = task.grad_warped + i * task.values;
  auto& row = scratch.row[row_in_block];
  int32_t count = row.count;  // not through memory: one push would wait for the other
  for (int64_t j = 0; j < keys; j += W) {
    const Vector<T> s = load(scores + j);
    uint32_t kept = mask_greater(s, threshold);
    if (!kept) continue;
    Vector<T> p = exp2<T>((s - task.maximum[i]) * task.log2_scale - task.log2_mass[i]);
    p = s > threshold ? p : Vector<T>{};
    Vector<T> projected = splat<T>(task.offset[i]);
    const int64_t panel = (first_key + j / width * width) * task.values + j % width;
    for (int64_t d = 0; d < task.values; ++d) {
      const int64_t at = panel + d * width;
      projected += grad_warped[d] * load(task.value + at);
      if (task.grad_value)
        store<T>(task.grad_value + at, load(task.grad_value + at) + p * grad_warped[d]);
    }
    const Vector<T> gradients = p * projected * task.inverse_temperature;
    if (task.score_gradient)
      task.score_gradient[i] +=
          horizontal_sum<T>(s > threshold ? gradients * (s - task.maximum[i]) : Vector<T>{});
    alignas(64) T gradient[W];
    store<T>(gradient, gradients);
    auto* columns = scratch.column + j;
    for (; kept; kept &= kept - 1) {
      const int l = __builtin_ctz(kept);
      row.index[count] = int16_t(j + l);
      row.weight[count++] = gradient[l];
      columns[l].push(row_in_block, gradient[l]);
    }
  }
  row.count = count;
}

// Works through rows first_row.. and keys first_key.. of the task, at most
// [backward_rows, backward_keys]; first_key is a multiple of the key width.
template <class T>
void backward_block(const BackwardTask<T>& task, int64_t first_row, int64_t first_key,
                    BackwardScratch<T>& scratch) {
  const int64_t rows =
      task.rows - first_row < backward_rows ? task.rows - first_row : backward_rows;
  const int64_t keys = task.m - first_key < backward_keys ? task.m - first_key : backward_keys;
  for (int64_t r = 0; r < rows; ++r) scratch.row[r].count = 0;
  for (int64_t j = 0; j < keys; ++j) scratch.column[j].count = 0;

  Strip<T> strip;
  for (int64_t panel = 0; panel < rows && task.value; panel += query_width) {
    multiply_strip(task.query + (first_row + panel) * task.channels,
                   task.key + first_key * task.channels, task.channels, keys, strip);
    for (int64_t r = panel; r < panel + query_width && r < rows; ++r)
      push_softmax(task, strip.row(int(r - panel)), first_row, r, first_key, keys, scratch);
  }
  for (int64_t r = 0; r < rows && task.grad_scores; ++r) {
    const T* grad = task.grad_scores + (first_row + r) * task.grad_scores_stride + first_key;
    for (int64_t j = 0; j < keys; ++j)
      if (grad[j] != 0) push(scratch, r, j, grad[j]);
  }
  for (int64_t r = 0; r < rows && task.grad_similarity; ++r) {
    const int64_t j = task.rank[first_row + r] - task.first_key - first_key;
    if (0 <= j && j < keys) push(scratch, r, j, task.grad_similarity[first_row + r]);
  }

  const int64_t query_at = first_row * task.row_stride, key_at = first_key * task.row_stride;
  add_rows(scratch.row, rows, task.key_rows + key_at, task.row_stride,
           task.grad_query_rows + query_at);
  add_rows(scratch.column, keys, task.query_rows + query_at, task.row_stride,
           task.grad_key_rows + key_at);
}

template <class T>
void backward(const BackwardTask<T>& task) {
  static_assert(sizeof(BackwardScratch<T>) <= backward_scratch_bytes);
  static_assert(backward_rows % query_width == 0 && backward_keys <= strip_keys);
  BackwardScratch<T>& scratch = *static_cast<BackwardScratch<T>*>(task.scratch);
  for (int64_t first_key = 0; first_key < task.m; first_key += backward_keys)
    for (int64_t first_row = 0; first_row < task.rows; first_row += backward_rows)
      backward_block(task, first_row, first_key, scratch);
}
