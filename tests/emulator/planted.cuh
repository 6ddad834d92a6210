// Small kernels with one bug each, which its template argument repairs: what the emulator must
// find.
#pragma once

#include "prim.cuh"

namespace planted {

using namespace spcolor;

constexpr int threads = 128;

// out[i] = in[(i + 1) % threads] through shared memory.
template <bool has_barrier>
__global__ void rotate(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);
  values[threadIdx.x] = in[threadIdx.x];
  if constexpr (has_barrier) __syncthreads();
  out[threadIdx.x] = values[(threadIdx.x + 1) % threads];
}

}  // namespace planted
