// The instructions that CUDA C++ has no name for, and how a kernel is launched and gets its dynamic
// shared memory. A host compiler gets tests/emulator's twins of all of it, so that the kernels run
// on a CPU.
#pragma once

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <type_traits>

// Dynamic shared memory of the block, as T*.
#define SPCOLOR_SHARED(T, name)                                            \
  extern __shared__ __align__(1024) unsigned char spcolor_shared_memory[]; \
  T* name = reinterpret_cast<T*>(spcolor_shared_memory)

#define SPCOLOR_LAUNCH(kernel, grid, block, smem, stream, ...)                                     \
  do {                                                                                             \
    const size_t bytes_of_launch = smem;                                                           \
    ::spcolor::prim::allow_shared_memory(reinterpret_cast<const void*>(&kernel), bytes_of_launch); \
    kernel<<<grid, block, bytes_of_launch, stream>>>(__VA_ARGS__);                                 \
    ::spcolor::prim::check(cudaGetLastError(), #kernel);                                           \
  } while (0)

namespace spcolor::prim {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// More than 48 KiB of shared memory must be asked for, and what a kernel declares itself counts.
// All that there is, whatever a launch needs: another thread may be about to launch the same
// kernel.
inline void allow_shared_memory(const void* kernel, size_t bytes) {
  if (bytes <= 32 * 1024) return;
  int device = 0, most = 0;
  cudaFuncAttributes attributes;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "shared memory of a block");
  check(cudaFuncGetAttributes(&attributes, kernel), "attributes of a kernel");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             most - int(attributes.sharedSizeBytes)),
        "shared memory");
}

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Asynchronous copies of 16 or 4 bytes, of which all beyond `source_bytes` become 0. Both addresses
// must be aligned to the size, even if nothing is read.
__device__ __forceinline__ void cp_async16(void* shared, const void* global,
                                           int source_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(source_bytes)
               : "memory");
}

__device__ __forceinline__ void cp_async4(void* shared, const void* global, int source_bytes = 4) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(source_bytes)
               : "memory");
}

__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most so many of this thread's latest groups are in flight.
template <int groups_in_flight>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_in_flight) : "memory");
}

// Barriers 1 to 15 for whole warps; 0 is that of __syncthreads.
__device__ __forceinline__ void barrier_sync(unsigned id, unsigned threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void barrier_arrive(unsigned id, unsigned threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements; lane i names row i % 8 of matrix i / 8, aligned to 16
// bytes. Lane 4 r + p gets elements 2 p and 2 p + 1 of row r, or of column r if transposed.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

// d = a . b^T + c with d and c [16, 8], a [16, 16] and b [8, 16] of T, sums in float32.
// Lane 4 r + p holds of d and c: (row r, columns 2 p, 2 p + 1), (row r + 8, the same); of a: rows
// r, r + 8 and of b: row r, elements 2 p, 2 p + 1 of the first half of 16, then of the second.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2], const float (&c)[4]) {
  static_assert(std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
  if constexpr (std::is_same_v<T, __half>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
          "f"(c[2]), "f"(c[3]));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
          "f"(c[2]), "f"(c[3]));
}

// The same with a [16, 8] and b [8, 8] of tf32: elements p of the first half of 8 and the second.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2], const float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
        "f"(c[2]), "f"(c[3]));
}

// The bits of x rounded to the nearest tf32; as float32 they are that number.
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

__device__ __forceinline__ float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace spcolor::prim

#else
#include "prim.h"
#endif
