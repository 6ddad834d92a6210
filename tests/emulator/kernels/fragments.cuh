// One matrix instruction each, on raw registers and raw shared memory, so that the emulator's
// results can be compared with a GPU's bit by bit.
#pragma once

#include "prim.cuh"

namespace fragments {

using namespace spcolor;

constexpr int lanes = 32;

template <bool transposed>
__global__ void load(const uint16_t* in,  // [32, 8]: four matrices [8, 8]
                     unsigned* out) {     // [32, 4]: the fragment of each lane
  SPCOLOR_SHARED(uint16_t, rows);
  for (int j = 0; j < 8; ++j) rows[8 * threadIdx.x + j] = in[8 * threadIdx.x + j];
  __syncthreads();
  unsigned fragment[4];
  if (transposed)
    prim::ldmatrix_x4_trans(fragment, rows + 8 * threadIdx.x);
  else
    prim::ldmatrix_x4(fragment, rows + 8 * threadIdx.x);
  for (int j = 0; j < 4; ++j) out[4 * threadIdx.x + j] = fragment[j];
}

struct Tf32;

template <class T>
__global__ void multiply(const unsigned* in_a,  // [32, 4]
                         const unsigned* in_b,  // [32, 2]
                         const float* in_c,     // [32, 4]
                         float* out) {          // [32, 4]
  unsigned a[4], b[2];
  float c[4], d[4];
  for (int j = 0; j < 4; ++j) a[j] = in_a[4 * threadIdx.x + j];
  for (int j = 0; j < 2; ++j) b[j] = in_b[2 * threadIdx.x + j];
  for (int j = 0; j < 4; ++j) c[j] = in_c[4 * threadIdx.x + j];
  if constexpr (std::is_same_v<T, Tf32>)
    prim::mma_m16n8k8_tf32(d, a, b, c);
  else
    prim::mma_m16n8k16<T>(d, a, b, c);
  for (int j = 0; j < 4; ++j) out[4 * threadIdx.x + j] = d[j];
}

__global__ void round_to_tf32(const float* in, unsigned* out) {  // [32]
  out[threadIdx.x] = prim::to_tf32(in[threadIdx.x]);
}

inline void run_load(bool transposed, const uint16_t* in, unsigned* out, cudaStream_t stream) {
  const auto kernel = transposed ? load<true> : load<false>;
  SPCOLOR_LAUNCH(kernel, dim3(1), dim3(lanes), lanes * 8 * sizeof(uint16_t), stream, in, out);
}

inline void run_multiply(const std::string& type, const unsigned* a, const unsigned* b,
                         const float* c, float* d, cudaStream_t stream) {
  const auto kernel = type == "fp16"   ? multiply<__half>
                      : type == "bf16" ? multiply<__nv_bfloat16>
                                       : multiply<Tf32>;
  SPCOLOR_LAUNCH(kernel, dim3(1), dim3(lanes), 0, stream, a, b, c, d);
}

inline void run_round_to_tf32(const float* in, unsigned* out, cudaStream_t stream) {
  SPCOLOR_LAUNCH(round_to_tf32, dim3(1), dim3(lanes), 0, stream, in, out);
}

}  // namespace fragments
