// What csrc/cuda/device.h asks of a device, answered by the emulator for CPU tensors.
#pragma once

#include <cstdlib>

#include "emulator.h"

#define SPCOLOR_LIBRARY_IMPL(m) STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CPU, m)

namespace spcolor::device {

struct Guard {
  explicit Guard(int32_t) {}
};

inline cudaStream_t stream(int32_t) { return nullptr; }

// Few, so that the small problems of tests are split over keys only where they have many.
inline int multiprocessors(int32_t) { return 8; }

// SPCOLOR_HOPPER=1 emulates an sm_90.
inline bool has_wgmma(int32_t) {
  const char* hopper = std::getenv("SPCOLOR_HOPPER");
  return hopper && hopper[0] == '1';
}

// Or that of sm_86 and sm_89, the least of all.
inline int shared_limit(int32_t index) { return (has_wgmma(index) ? 227 : 99) * 1024; }

inline void lend(const torch::stable::Tensor& tensor) {
  if (!emulator::checked || tensor.numel() == 0) return;
  int64_t last = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  emulator::lend(tensor.const_data_ptr(), (last + 1) * tensor.element_size());
}

}  // namespace spcolor::device
