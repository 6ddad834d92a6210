// Values of a key as the right operand of a product of tf32 numbers.
#pragma once

#include "prim.cuh"

namespace spcolor {

// Up to three values: tf32 numbers, what those leave, and a one that makes the mass a sum like the
// others.
constexpr int matrix_values = 3, matrix_columns = 8;

// Column `column` of a key whose value `d` is v(d).
template <class F>
__device__ inline float matrix_value(int column, const F& v) {
  if (column == 2 * matrix_values) return 1;
  if (column > 2 * matrix_values) return 0;
  const float x = v(column % matrix_values);
  const float high = __uint_as_float(__float_as_uint(x) & 0xffffe000u);
  if (column < matrix_values) return high;
  return x - x == 0 ? x - high : 0;
}

}  // namespace spcolor
