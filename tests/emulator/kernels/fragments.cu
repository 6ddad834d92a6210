// The instructions on a GPU, for ctypes: pointers to its memory, and the message of an error.
#include "fragments.cuh"
#include "message.h"

extern "C" const char* load(bool transposed, const uint16_t* in, unsigned* out) {
  return message_of([&] { fragments::run_load(transposed, in, out, nullptr); });
}

extern "C" const char* multiply(const char* type, const unsigned* a, const unsigned* b,
                                const float* c, float* d) {
  return message_of([&] { fragments::run_multiply(type, a, b, c, d, nullptr); });
}

extern "C" const char* round_to_tf32(const float* in, unsigned* out) {
  return message_of([&] { fragments::run_round_to_tf32(in, out, nullptr); });
}
