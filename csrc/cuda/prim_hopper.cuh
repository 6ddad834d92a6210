// The instructions of sm_90a alone: mbarriers, TMA and wgmma. A host compiler gets the emulator's
// twins, like in prim.cuh.
#pragma once

#include "prim.cuh"

#ifdef __CUDACC__

#include <cuda.h>

namespace spcolor::prim {

// A matrix in global memory, rows one after another, of which TMA copies boxes of `box_rows` times
// 128 bytes.
using TensorMap = CUtensorMap;

inline TensorMap make_tensor_map(const void* data, uint64_t row_bytes, uint64_t rows,
                                 uint32_t box_rows) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &found),
        "cuTensorMapEncodeTiled");
  const cuuint64_t sizes[] = {row_bytes, rows}, pitches[] = {row_bytes};
  const cuuint32_t box[] = {128, box_rows}, steps[] = {1, 1};
  TensorMap map;
  const CUresult status = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(data), sizes, pitches, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error("cuTensorMapEncodeTiled: error " + std::to_string(status));
  return map;
}

// A barrier in shared memory. Its phases, of parity 0, 1, 0, ..., end when as many threads as it
// was initialised for have arrived and all bytes that they expect have come.
using Mbarrier = uint64_t;

__device__ __forceinline__ void mbarrier_init(Mbarrier* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}

// Lets TMA see the initialised barriers; other threads see them after a __syncthreads.
__device__ __forceinline__ void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(Mbarrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier* barrier, unsigned bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}

// Waits for the end of the phase of this parity; one that ended just before the running one counts.
__device__ __forceinline__ void mbarrier_wait(Mbarrier* barrier, unsigned parity) {
  asm volatile(
      "{.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Copies the box whose corner is byte x of row y to shared memory aligned to 1024 bytes, the
// 16-byte chunks of each row permuted by its number; what lies outside of the matrix is 0. The
// barrier gets as many bytes as the box has.
__device__ __forceinline__ void tma_load(void* shared, const TensorMap& map, Mbarrier* barrier,
                                         int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
}

// Lets wgmma and TMA see what this thread wrote to shared memory.
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Rows of 128 bytes as tma_load leaves them. Bits: address / 16; 16: leading offset, unused; 32:
// distance / 16 of groups of eight rows; 62: swizzle of 128 bytes. A step of 32 bytes along the
// rows adds 2.
__device__ __forceinline__ uint64_t matrix_descriptor(const void* rows) {
  return shared_address(rows) >> 4 | uint64_t(1) << 16 | uint64_t(1024 >> 4) << 32 |
         uint64_t(1) << 62;
}

// Orders earlier accesses to registers before the products that follow; begins every group.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int groups_in_flight>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups_in_flight) : "memory");
}

// Keeps the compiler from moving accesses to accumulators across.
__device__ __forceinline__ void keep_in_registers(float (&d)[16][4]) {
#pragma unroll
  for (int i = 0; i < 16; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) asm volatile("" : "+f"(d[i][j])::"memory");
}

// The instruction for one type, with its immediates after the scale of d: signs of a and b, and for
// 16-bit types that neither is transposed.
#define SPCOLOR_WGMMA(shape_and_types, immediates)                                                \
  asm volatile(                                                                                   \
      "{.reg .pred p; setp.ne.b32 p, %66, 0;\n"                                                   \
      "wgmma.mma_async.sync.aligned." shape_and_types                                             \
      " {"                                                                                        \
      "%0, %1, %2, %3, %4, %5, %6, %7, "                                                          \
      "%8, %9, %10, %11, %12, %13, %14, %15, "                                                    \
      "%16, %17, %18, %19, %20, %21, %22, %23, "                                                  \
      "%24, %25, %26, %27, %28, %29, %30, %31, "                                                  \
      "%32, %33, %34, %35, %36, %37, %38, %39, "                                                  \
      "%40, %41, %42, %43, %44, %45, %46, %47, "                                                  \
      "%48, %49, %50, %51, %52, %53, %54, %55, "                                                  \
      "%56, %57, %58, %59, %60, %61, %62, %63"                                                    \
      "}, %64, %65, p, " immediates ";}"                                                          \
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), \
        "+f"(d[1][2]), "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), \
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]), \
        "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]), \
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]), "+f"(d[7][1]), \
        "+f"(d[7][2]), "+f"(d[7][3]), "+f"(d[8][0]), "+f"(d[8][1]), "+f"(d[8][2]), "+f"(d[8][3]), \
        "+f"(d[9][0]), "+f"(d[9][1]), "+f"(d[9][2]), "+f"(d[9][3]), "+f"(d[10][0]),               \
        "+f"(d[10][1]), "+f"(d[10][2]), "+f"(d[10][3]), "+f"(d[11][0]), "+f"(d[11][1]),           \
        "+f"(d[11][2]), "+f"(d[11][3]), "+f"(d[12][0]), "+f"(d[12][1]), "+f"(d[12][2]),           \
        "+f"(d[12][3]), "+f"(d[13][0]), "+f"(d[13][1]), "+f"(d[13][2]), "+f"(d[13][3]),           \
        "+f"(d[14][0]), "+f"(d[14][1]), "+f"(d[14][2]), "+f"(d[14][3]), "+f"(d[15][0]),           \
        "+f"(d[15][1]), "+f"(d[15][2]), "+f"(d[15][3])                                            \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))

struct Tf32;

// d [64, 128] (+)= a [64, k] . b [128, k]^T of rows in shared memory, with 32 bytes of k. A warp
// holds 16 rows of d, in blocks of 8 columns as mma_m16n8k16 does.
template <class T>
__device__ __forceinline__ void wgmma_m64n128(float (&d)[16][4], uint64_t a, uint64_t b,
                                              bool accumulate) {
  if constexpr (std::is_same_v<T, __half>)
    SPCOLOR_WGMMA("m64n128k16.f32.f16.f16", "1, 1, 0, 0");
  else if constexpr (std::is_same_v<T, __nv_bfloat16>)
    SPCOLOR_WGMMA("m64n128k16.f32.bf16.bf16", "1, 1, 0, 0");
  else
    SPCOLOR_WGMMA("m64n128k8.f32.tf32.tf32", "1, 1");
}

#undef SPCOLOR_WGMMA

// Registers of each thread of a warpgroup: fewer than the launch gave, or more, once others have
// given theirs back.
template <int count>
__device__ __forceinline__ void give_registers_back() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

template <int count>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

}  // namespace spcolor::prim

#else
#include "prim_hopper.h"
#endif
