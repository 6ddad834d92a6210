// Twins of ldmatrix and mma.sync: what each lane holds of a matrix follows the PTX manual
// ("Matrix fragments for mma.m16n8k16" and "... for mma.m16n8k8", "ldmatrix").
#pragma once

#include "block.h"

namespace emulator {

// matrices: 8 rows of 16 bytes each; lane i names row i % 8 of matrix i / 8.
void load_matrices(unsigned (&fragment)[4], const void* row, bool transposed);

enum class Operand { float16, bfloat16, tf32 };

// d = a . b^T + c with d and c [16, 8], a [16, depth], b [8, depth]; depth is 8 for tf32, else 16.
void multiply_add(Operand type, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                  const float (&c)[4]);

uint32_t round_to_tf32(float x);

}  // namespace emulator
