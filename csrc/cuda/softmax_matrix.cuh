// The softmax of two rows whose weights a tensor core sums up: sixteen small products in place of
// four additions for every score.
#pragma once

#include "matrix_values.cuh"
#include "softmax.cuh"

namespace spcolor {

// The exponent of every weight is larger by the mean logarithm of what a tensor core cuts off, so
// that their sums are right on average. What is exactly 1 stays so.
constexpr float log2_of_cut_off = 0.0005f;

// A warp's 16 rows, two to a thread. Weights are tf32 numbers: `ieee` needs RowState.
struct MatrixRowState : RowMaximum<float, 2> {
  float sums[4] = {};  // [rows 0 and 8, matrix_columns], as a tensor core leaves them

  // As the right operands have them.
  template <int NI>
  struct Operands {
    unsigned bits[NI][2];
  };
  // `first` [keys, matrix_columns].
  template <bool is_partial, int NI>
  __device__ static Operands<NI> load(const float* first, int /*pitch*/, int columns) {
    Operands<NI> values;
#pragma unroll
    for (int j = 0; j < NI; ++j)
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        int column = j * 8 + column_of(odd);
        // Beyond the columns any value of the class will do: its weight is 0.
        if (is_partial && column >= columns) column = 0;
        values.bits[j][odd] = __float_as_uint(first[column * matrix_columns + lane_id() / 4]);
      }
    return values;
  }

  // As RowState's.
  template <bool is_partial, int NI>
  __device__ void add(const float (&scores)[1][NI][4], int first, int /*columns*/,
                      const Operands<NI>& values, float log2_scale) {
    float rescale[2];
    raise(scores, first, log2_scale, rescale);
    float of_tile[2][4] = {};  // two, since each product waits for the one before
#pragma unroll
    for (int j = 0; j < NI; ++j) {
      const auto weight = [&](int e) {
        const float below = scores[0][j][e] - maximum[e / 2];
        return __float_as_uint(power_of_two(fmaf(below, log2_scale, log2_of_cut_off)));
      };
      // The order of the summed index is free: columns 2t and 2t + 1 stand for t and t + 4.
      const unsigned left[4] = {weight(0), weight(2), weight(1), weight(3)};
      prim::mma_m16n8k8_tf32(of_tile[j % 2], left, values.bits[j], of_tile[j % 2]);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e)
      sums[e] = sums[e] * rescale[e / 2] + (of_tile[0][e] + of_tile[1][e]);
  }

  // Gives every lane of a row all of its sums.
  __device__ void finish() {
    const int first = lane_id() / 4 * 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const auto column = [&](int c) {
        return __shfl_sync(~0u, sums[r * 2 + c % 2], first + c / 2);
      };
      mass_[r] = column(2 * matrix_values);
#pragma unroll
      for (int d = 0; d < matrix_values; ++d) warped_[r][d] = column(d) + column(matrix_values + d);
    }
  }

  __device__ RowResult<float, matrix_values> result(int r) const {
    return {maximum[r], mass_[r], {warped_[r][0], warped_[r][1], warped_[r][2]}, rank[r]};
  }

 private:
  float mass_[2], warped_[2][matrix_values];
};

}  // namespace spcolor
