// The kernels for processors with avx2, fma.
#if defined(__x86_64__)
#include <immintrin.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "kernels.h"

#define SPCOLOR_VECTOR_BYTES 32
#define SPCOLOR_LEVEL_NAME "avx2"

// From here on, and only here, the compiler may use these instructions.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace spcolor::avx2 {
#include "kernels.inl"
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
