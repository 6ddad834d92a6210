// One product by TMA and wgmma, without and with one bug each.
#pragma once

#include "prim_hopper.cuh"

namespace hopper {

using namespace spcolor;

constexpr int threads = 128, left_rows = 64, right_rows = 128, row_bytes = 128;
constexpr int left_bytes = left_rows * row_bytes, right_bytes = right_rows * row_bytes;
constexpr int shared_bytes = left_bytes + right_bytes + 2 * sizeof(prim::Mbarrier);

enum class Bug {
  none,
  missing_init_barrier,
  missing_copy_wait,
  wrong_parity,
  wrong_expected_bytes,
  unaligned_destination,
  missing_product_wait,
  missing_product_fence,
  operand_reused_too_early,
  missing_proxy_fence,
  returns_before_copy,
};

// d [64, 128] = a [64, 128 bytes] . b [128, 128 bytes]^T in four steps, from rows first_left and
// first_right of the matrices on.
template <class T, Bug bug>
__global__ void __launch_bounds__(threads)
    multiply(const __grid_constant__ prim::TensorMap left_map,
             const __grid_constant__ prim::TensorMap right_map, int first_left, int first_right,
             float* out) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  SPCOLOR_SHARED(unsigned char, left);
  unsigned char* right = left + left_bytes;
  auto* barrier = reinterpret_cast<prim::Mbarrier*>(right + right_bytes);
  if (threadIdx.x == 0) {
    prim::mbarrier_init(barrier, 1);
    prim::mbarrier_init_fence();
  }
  if (bug != Bug::missing_init_barrier) __syncthreads();

  if (threadIdx.x == 0) {
    const int missing = bug == Bug::wrong_expected_bytes ? row_bytes : 0;
    prim::mbarrier_arrive_expect(barrier, left_bytes + right_bytes + missing);
    prim::tma_load(left, left_map, barrier, 0, first_left);
    prim::tma_load(right + (bug == Bug::unaligned_destination ? row_bytes : 0), right_map, barrier,
                   0, first_right);
  }
  if (bug != Bug::missing_copy_wait) prim::mbarrier_wait(barrier, bug == Bug::wrong_parity);

  // Swapping rows of zeros changes nothing but who wrote them.
  // Changes nothing but who wrote this number.
  volatile int* number = reinterpret_cast<int*>(right);
  if (threadIdx.x == 0) *number = *number;
  if (bug != Bug::missing_proxy_fence) prim::fence_proxy_async();
  __syncthreads();

  float d[16][4];
  if (bug != Bug::missing_product_fence) prim::wgmma_fence();
  const uint64_t a = prim::matrix_descriptor(left), b = prim::matrix_descriptor(right);
  for (int step = 0; step < 4; ++step)
    prim::wgmma_m64n128<T>(d, a + 2 * step, b + 2 * step, step > 0);
  prim::wgmma_commit();

  const bool reuse = bug == Bug::operand_reused_too_early || bug == Bug::returns_before_copy;
  if (bug != Bug::missing_product_wait && bug != Bug::operand_reused_too_early)
    prim::wgmma_wait<0>();
  __syncthreads();
  if (reuse && threadIdx.x == 0) {
    prim::mbarrier_arrive_expect(barrier, left_bytes);
    prim::tma_load(left, left_map, barrier, 0, 0);
  }
  if (bug == Bug::operand_reused_too_early) {
    prim::mbarrier_wait(barrier, 1);
    prim::wgmma_wait<0>();
  }

  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j)
      out[(row + j / 2 * 8) * right_rows + i * 8 + column + j % 2] = d[i][j];
  if (bug == Bug::missing_product_wait) prim::wgmma_wait<0>();
#else
  __trap();
#endif
}

// left, right: [rows, 128 bytes].
template <class T, Bug bug>
void run(const void* left, int rows_of_left, int first_left, const void* right, int rows_of_right,
         int first_right, float* out, cudaStream_t stream) {
  const auto left_map = prim::make_tensor_map(left, row_bytes, rows_of_left, left_rows);
  const auto right_map = prim::make_tensor_map(right, row_bytes, rows_of_right, right_rows);
  SPCOLOR_LAUNCH((multiply<T, bug>), dim3(1), dim3(threads), shared_bytes, stream, left_map,
                 right_map, first_left, first_right, out);
}

}  // namespace hopper
