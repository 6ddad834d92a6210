// What csrc/cuda/device.h asks of a device, answered by the emulator for CPU tensors.
#pragma once

#include "emulator.h"

#define SPCOLOR_LIBRARY_IMPL(m) STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CPU, m)

namespace spcolor::device {

struct Guard {
  explicit Guard(int32_t) {}
};

inline cudaStream_t stream(int32_t) { return nullptr; }

// Few, so that the small problems of tests are split over keys only where they have many.
inline int multiprocessors(int32_t) { return 8; }

// That of sm_86 and sm_89, the least of all.
inline int shared_limit(int32_t) { return 99 * 1024; }

inline void lend(const torch::stable::Tensor& tensor) {
  if (!emulator::checked || tensor.numel() == 0) return;
  int64_t last = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  emulator::lend(tensor.const_data_ptr(), (last + 1) * tensor.element_size());
}

}  // namespace spcolor::device
