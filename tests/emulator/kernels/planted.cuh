// Small kernels with one bug each: what the emulator must find. `right` is the kernel without it.
// Each reads in [2 * threads] and writes out [threads].
#pragma once

#include "prim.cuh"

namespace planted {

using namespace spcolor;

constexpr int threads = 128;

__device__ inline int next(int i) { return (i + 1) % threads; }

template <bool right>
__global__ void missing_barrier(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);
  const int i = threadIdx.x;
  values[i] = in[i];
  if (right) __syncthreads();
  out[i] = values[next(i)];
}

// Shuffles move values between lanes, but order no memory.
template <bool right>
__global__ void missing_syncwarp(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);
  const int i = threadIdx.x, neighbour = i ^ 1;
  values[i] = in[i];
  if (right) __syncwarp();
  const float own = __shfl_xor_sync(~0u, in[neighbour], 1);
  out[i] = values[neighbour] + own;
}

__device__ inline void copy_in(float* values, const float* in) {
  if (threadIdx.x < threads / 4) prim::cp_async16(values + 4 * threadIdx.x, in + 4 * threadIdx.x);
  prim::cp_async_commit();
}

template <bool right>
__global__ void missing_copy_wait(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);
  const int i = threadIdx.x;
  copy_in(values, in);
  copy_in(values + threads, in + threads);
  if (right)
    prim::cp_async_wait<1>();
  else
    prim::cp_async_wait<2>();
  __syncthreads();
  out[i] = values[next(i)];
  prim::cp_async_wait<0>();
}

template <bool right>
__global__ void buffer_reused_too_early(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);
  const int i = threadIdx.x;
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    copy_in(values, in + round * threads);
    prim::cp_async_wait<0>();
    __syncthreads();
    sum += values[next(i)];
    if (right) __syncthreads();
  }
  out[i] = sum;
}

template <bool right>
__global__ void returns_before_copy(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);
  out[threadIdx.x] = in[threadIdx.x];
  copy_in(values, in);
  if (right) prim::cp_async_wait<0>();
}

template <bool right>
__global__ void shared_read_out_of_bounds(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);  // [2 * threads]
  const int i = threadIdx.x;
  values[i] = values[threads + i] = in[i];
  __syncthreads();
  out[i] = values[threads + (right ? next(i) : i + 1)];
}

template <bool right>
__global__ void shared_write_out_of_bounds(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);  // [2 * threads]
  const int i = threadIdx.x;
  values[threads + (right ? i : i + 1)] = in[i];
  __syncthreads();
  out[i] = values[threads + i];
}

template <bool right>
__global__ void global_read_out_of_bounds(const float* in, float* out) {
  const int i = threadIdx.x;
  out[i] = in[threads + (right ? next(i) : i + 1)];
}

template <bool right>
__global__ void global_write_out_of_bounds(const float* in, float* out) {
  out[right ? threads - 1 - threadIdx.x : threads - threadIdx.x] = in[threadIdx.x];
}

template <bool right>
__global__ void read_before_write(const float* in, float* out) {
  __shared__ float values[2];
  if (threadIdx.x == 0) values[0] = in[0];
  if (right && threadIdx.x == 1) values[1] = in[1];
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x % 2];
}

template <bool right>
__global__ void lost_update(const float* in, float* out) {
  SPCOLOR_SHARED(float, sum);
  if (threadIdx.x == 0) *sum = 0;
  __syncthreads();
  if (right)
    atomicAdd(sum, in[threadIdx.x]);
  else
    *sum = *sum + in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = *sum;
}

// For two blocks.
template <bool right>
__global__ void lost_update_between_blocks(const float* in, float* out) {
  const float x = in[blockIdx.x * threads + threadIdx.x];
  if (right)
    atomicAdd(out + threadIdx.x, x);
  else
    out[threadIdx.x] += x;
}

template <bool right>
__global__ void divergent_barrier(const float* in, float* out) {
  if (right || threadIdx.x < threads / 2)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = in[threadIdx.x];
}

template <bool right>
__global__ void barrier_of_some_threads(const float* in, float* out) {
  if (right || threadIdx.x < threads / 2) __syncthreads();
  out[threadIdx.x] = in[threadIdx.x];
}

template <bool right>
__global__ void wrong_barrier_count(const float* in, float* out) {
  if (threadIdx.x < threads / 2) prim::barrier_sync(1, right ? threads / 2 : threads);
  out[threadIdx.x] = in[threadIdx.x];
}

template <bool right>
__global__ void missing_lanes(const float* in, float* out) {
  float x = in[threadIdx.x];
  if (right || threadIdx.x % 32 < 16) x = __shfl_xor_sync(~0u, x, 1);
  out[threadIdx.x] = x;
}

template <bool right>
__global__ void lane_outside_of_mask(const float* in, float* out) {
  float x = in[threadIdx.x];
  if (threadIdx.x % 32 < 16) x = __shfl_sync(0xffffu, x, right ? 15 : 16);
  out[threadIdx.x] = x;
}

template <bool right>
__global__ void unaligned_matrix(const float* in, float* out) {
  SPCOLOR_SHARED(float, values);  // [2 * threads]
  const int i = threadIdx.x;
  for (int half = 0; half < 2; ++half) values[2 * i + half] = in[2 * i + half];
  __syncthreads();
  unsigned fragment[4];
  prim::ldmatrix_x4(fragment, values + 4 * (i % 32) + (right ? 0 : 1));
  out[i] = __uint_as_float(fragment[i / 32]);
}

}  // namespace planted
