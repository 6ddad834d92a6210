// What the operators ask of the device: the one place that the emulator replaces.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#ifdef __CUDACC__

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include "../checks.h"
#include "prim.cuh"

#define SPCOLOR_LIBRARY_IMPL(m) STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CUDA, m)

namespace spcolor::device {

using Guard = torch::stable::accelerator::DeviceGuard;

inline cudaStream_t stream(int32_t index) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index, &stream));
  return static_cast<cudaStream_t>(stream);
}

inline int attribute(cudaDeviceAttr name, int32_t index) {
  int value = 0;
  prim::check(cudaDeviceGetAttribute(&value, name, index), "device attribute");
  return value;
}
inline int multiprocessors(int32_t index) {
  return attribute(cudaDevAttrMultiProcessorCount, index);
}
inline int shared_limit(int32_t index) {
  return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
}
// No other compute capability has the instructions of sm_90a, for which a build may have no code.
inline bool has_wgmma([[maybe_unused]] int32_t index) {
#ifdef SPCOLOR_SM_90A
  return attribute(cudaDevAttrComputeCapabilityMajor, index) == 9 &&
         attribute(cudaDevAttrComputeCapabilityMinor, index) == 0;
#else
  return false;
#endif
}

// Called with every tensor that a kernel gets: another device's memory may not be read.
inline void lend(const torch::stable::Tensor& tensor) {
  int current = 0;
  prim::check(cudaGetDevice(&current), "current device");
  SPCOLOR_CHECK(tensor.is_cuda() && tensor.get_device_index() == current,
                "expected all tensors on the first one's device, cuda:", current, ", got one on ",
                tensor.is_cuda() ? "cuda:" + std::to_string(tensor.get_device_index())
                                 : std::string("another kind of device"));
}

}  // namespace spcolor::device

#else
#include "device_emulated.h"
#endif
