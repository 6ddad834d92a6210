// layout_cuda.
#include <Python.h>

#include <vector>

#include "../checks.h"
#include "device.h"
#include "layout.cuh"

namespace spcolor {
namespace {

// labels: one or two of [B, N], all int32 or all int64 -> order [B, N], inverse [B, N] and offsets
// [B, K + 1] of each.
std::vector<Tensor> layout(const std::vector<Tensor>& labels, int64_t num_segments) {
  constexpr int64_t most = (int64_t(1) << 31) - 4096;
  SPCOLOR_CHECK(labels.size() == 1 || labels.size() == 2,
                "labels: expected one or two tensors, got ", labels.size());
  SPCOLOR_CHECK(1 <= num_segments && num_segments < most, "num_segments: expected at least 1, got ",
                num_segments);
  const int32_t index = labels[0].get_device_index();
  const device::Guard guard(index);
  std::vector<Tensor> found;
  LayoutTasks tasks{};
  tasks.classes = int(num_segments);
  for (const Tensor& one : labels) {
    SPCOLOR_CHECK(one.dim() == 2, "labels: expected shape [B, N], got ", shape_of(one));
    check_dtype("labels", one, labels[0].scalar_type());
    const int64_t B = one.size(0), N = one.size(1);
    SPCOLOR_CHECK(N < most && B < 65536, "labels: too many positions, ", shape_of(one));
    SPCOLOR_CHECK(B == labels[0].size(0), "labels: expected ", labels[0].size(0), " images, got ",
                  B);
    const Tensor order = torch::stable::new_empty(one, {B, N}, ScalarType::Int);
    const Tensor inverse = torch::stable::new_empty(one, {B, N}, ScalarType::Int);
    const Tensor offsets = torch::stable::new_empty(one, {B, num_segments + 1}, ScalarType::Int);
    for (const Tensor& tensor : {one, order, inverse, offsets}) device::lend(tensor);
    tasks.images = int(B);
    LayoutTask& task = tasks.count++ == 0 ? tasks.first : tasks.second;
    task = {one.const_data_ptr(),
            one.stride(0),
            one.stride(1),
            int(N),
            order.mutable_data_ptr<int32_t>(),
            inverse.mutable_data_ptr<int32_t>(),
            offsets.mutable_data_ptr<int32_t>()};
    found.insert(found.end(), {order, inverse, offsets});
  }
  if (labels[0].scalar_type() == ScalarType::Int) {
    launch_layout<int32_t>(tasks, device::stream(index));
  } else {
    check_dtype("labels", labels[0], ScalarType::Long);
    launch_layout<int64_t>(tasks, device::stream(index));
  }
  return found;
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
