// The instructions on a GPU, for ctypes: pointers to its memory, and the message of an error.
#include "fragments.cuh"

namespace {

template <class Function>
const char* message_of(const Function& function) {
  static std::string message;
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}

}  // namespace

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
