// Twin of Hopper's wgmma.mma_async: products of matrices in shared memory that run beside the
// threads of their warpgroup. Fragments and descriptors follow the PTX manual ("Asynchronous
// warpgroup level matrix instructions").
//
// Until a wait covers a product, its accumulators are NaN, and its operands must not change.
#pragma once

#include "matrix.h"

namespace emulator {

constexpr unsigned wgmma_columns = 128;

void begin_products_of_block(unsigned threads);
bool has_products_in_flight(unsigned thread);

// d [64, 128] (+)= a [64, depth] . b [128, depth]^T; of d, a warp holds 16 rows, in blocks of 8
// columns like mma.sync. a, b: descriptors of rows of 128 bytes with a swizzle of as many.
void issue_product(Operand type, float (&d)[wgmma_columns / 8][4], uint64_t a, uint64_t b,
                   bool accumulate);
void fence_registers();
void commit_products();
void wait_for_products(unsigned groups_in_flight);

}  // namespace emulator
