// Checks of what the operators are given: memory safety is decided here, whatever Python let
// through.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <sstream>
#include <stdexcept>
#include <string>

#define SPCOLOR_CHECK(condition, ...)                                         \
  do {                                                                        \
    if (!(condition)) throw std::runtime_error(::spcolor::join(__VA_ARGS__)); \
  } while (0)

namespace spcolor {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

inline std::string shape_of(const Tensor& tensor) {
  std::string text = "[";
  for (int64_t d = 0; d < tensor.dim(); ++d)
    text += (d ? ", " : "") + std::to_string(tensor.size(d));
  return text + "]";
}

// Check that `tensor` has exactly this shape.
inline void check_shape(const char* name, const Tensor& tensor,
                        std::initializer_list<int64_t> expected) {
  bool matches = tensor.dim() == static_cast<int64_t>(expected.size());
  std::string text;
  int64_t d = 0;
  for (int64_t size : expected) {
    matches = matches && tensor.size(d) == size;
    text += (d++ ? ", " : "") + std::to_string(size);
  }
  SPCOLOR_CHECK(matches, name, ": expected shape [", text, "], got ", shape_of(tensor));
}

inline void check_dtype(const char* name, const Tensor& tensor, ScalarType expected) {
  SPCOLOR_CHECK(tensor.scalar_type() == expected, name, ": expected ",
                torch::headeronly::toString(expected), ", got ",
                torch::headeronly::toString(tensor.scalar_type()));
}

}  // namespace spcolor
