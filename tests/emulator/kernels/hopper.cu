// The products on a GPU, for ctypes.
#include "hopper.cuh"
#include "message.h"

#define PRODUCT(name, T)                                                                           \
  extern "C" const char* name(const void* left, int rows_of_left, int first_left,                  \
                              const void* right, int rows_of_right, int first_right, float* out) { \
    return message_of([&] {                                                                        \
      hopper::run<T, hopper::Bug::none>(left, rows_of_left, first_left, right, rows_of_right,      \
                                        first_right, out, nullptr);                                \
    });                                                                                            \
  }

PRODUCT(fp16, __half)
PRODUCT(bf16, __nv_bfloat16)
PRODUCT(tf32, spcolor::prim::Tf32)
