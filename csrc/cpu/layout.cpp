// segment_layout: a stable counting sort of every image's positions by class.
#include <Python.h>
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "../checks.h"
#include "parallel.h"

namespace spcolor {
namespace {

// labels: [N]; order, inverse: [N]; offsets: [K + 1]. Labels outside 0..K-1 sort last.
template <class Label>
void sort_image(const Label* labels, int64_t N, int64_t K, int32_t* order, int32_t* inverse,
                int32_t* offsets) {
  const auto bucket = [K](Label label) { return 0 <= label && label < K ? int64_t(label) : K; };
  std::vector<int32_t> next(K + 2, 0);
  for (int64_t i = 0; i < N; ++i) ++next[bucket(labels[i]) + 1];
  for (int64_t c = 0; c <= K; ++c) next[c + 1] += next[c];
  std::copy_n(next.begin(), K + 1, offsets);
  for (int64_t i = 0; i < N; ++i) {
    const int32_t rank = next[bucket(labels[i])]++;
    order[rank] = int32_t(i);
    inverse[i] = rank;
  }
}

template <class Label>
void sort_images(const Tensor& labels, int64_t K, Tensor& order, Tensor& inverse, Tensor& offsets) {
  const int64_t N = labels.size(1);
  run_tasks(labels.size(0), [&](int64_t b, int64_t) {
    sort_image(labels.const_data_ptr<Label>() + b * N, N, K,
               order.mutable_data_ptr<int32_t>() + b * N,
               inverse.mutable_data_ptr<int32_t>() + b * N,
               offsets.mutable_data_ptr<int32_t>() + b * (K + 1));
  });
}

// given: [B, N] int32 or int64. Appends order [B, N], inverse [B, N], offsets [B, K + 1].
void append_layout(const Tensor& given, int64_t num_segments, std::vector<Tensor>& found) {
  SPCOLOR_CHECK(given.dim() == 2, "labels: expected shape [B, N], got ", shape_of(given));
  SPCOLOR_CHECK(num_segments >= 1, "num_segments: expected at least 1, got ", num_segments);
  const Tensor labels = torch::stable::contiguous(given);
  const int64_t B = labels.size(0), N = labels.size(1);
  SPCOLOR_CHECK(N <= std::numeric_limits<int32_t>::max(), "labels: too many positions, ", N);
  Tensor order = torch::stable::new_empty(labels, {B, N}, ScalarType::Int);
  Tensor inverse = torch::stable::new_empty(labels, {B, N}, ScalarType::Int);
  Tensor offsets = torch::stable::new_empty(labels, {B, num_segments + 1}, ScalarType::Int);
  if (labels.scalar_type() == ScalarType::Int) {
    sort_images<int32_t>(labels, num_segments, order, inverse, offsets);
  } else {
    check_dtype("labels", labels, ScalarType::Long);
    sort_images<int64_t>(labels, num_segments, order, inverse, offsets);
  }
  found.insert(found.end(), {order, inverse, offsets});
}

std::vector<Tensor> layout(const std::vector<Tensor>& labels, int64_t num_segments) {
  std::vector<Tensor> found;
  for (const Tensor& one : labels) append_layout(one, num_segments, found);
  return found;
}

}  // namespace
}  // namespace spcolor

STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CPU, m) {
  m.impl("layout_cpu", TORCH_BOX(&spcolor::layout));
}

// An empty module, so that the library is also a valid Python extension.
PyMODINIT_FUNC PyInit__C_cpu(void) {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_C_cpu", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
