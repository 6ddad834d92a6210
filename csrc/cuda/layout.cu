// layout_cuda.
#include <Python.h>

#include <tuple>

#include "../checks.h"
#include "device.h"
#include "layout.cuh"

namespace spcolor {
namespace {

// labels: [B, N] int32 or int64 -> order [B, N], inverse [B, N], offsets [B, K + 1].
std::tuple<Tensor, Tensor, Tensor> layout(const Tensor& labels, int64_t num_segments) {
  constexpr int64_t most = (int64_t(1) << 31) - 4096;
  SPCOLOR_CHECK(labels.dim() == 2, "labels: expected shape [B, N], got ", shape_of(labels));
  SPCOLOR_CHECK(1 <= num_segments && num_segments < most, "num_segments: expected at least 1, got ",
                num_segments);
  const int64_t B = labels.size(0), N = labels.size(1);
  SPCOLOR_CHECK(N < most && B < 65536, "labels: too many positions, ", shape_of(labels));
  const int32_t index = labels.get_device_index();
  const device::Guard guard(index);
  const Tensor order = torch::stable::new_empty(labels, {B, N}, ScalarType::Int);
  const Tensor inverse = torch::stable::new_empty(labels, {B, N}, ScalarType::Int);
  const Tensor offsets = torch::stable::new_empty(labels, {B, num_segments + 1}, ScalarType::Int);
  for (const Tensor& tensor : {labels, order, inverse, offsets}) device::lend(tensor);
  const LayoutTask task{labels.const_data_ptr(),
                        labels.stride(0),
                        labels.stride(1),
                        int(B),
                        int(N),
                        int(num_segments),
                        order.mutable_data_ptr<int32_t>(),
                        inverse.mutable_data_ptr<int32_t>(),
                        offsets.mutable_data_ptr<int32_t>()};
  if (labels.scalar_type() == ScalarType::Int) {
    launch_layout<int32_t>(task, device::stream(index));
  } else {
    check_dtype("labels", labels, ScalarType::Long);
    launch_layout<int64_t>(task, device::stream(index));
  }
  return {order, inverse, offsets};
}

}  // namespace
}  // namespace spcolor

SPCOLOR_LIBRARY_IMPL(m) { m.impl("layout_cuda", TORCH_BOX(&spcolor::layout)); }

#ifdef __CUDACC__
// An empty module, so that the library is also a valid Python extension.
PyMODINIT_FUNC PyInit__C_cuda(void) {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
#endif
