// correspondence_cuda.
#include <tuple>

#include "correspondence.cuh"
#include "inputs.h"

namespace spcolor {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> correspondence_cuda(
    const Tensor& query,          // [B, N, C]
    const Tensor& key,            // [B, M, C]
    const Optional& value,        // [B, M, D]
    const Optional& query_order,  // [B, N]
    const Tensor& query_offsets,  // [B, K + 1]
    const Optional& key_order,    // [B, M]
    const Tensor& key_offsets,    // [B, K + 1]
    const Tensor& temperature,    // []
    bool center, bool normalize, const std::string& precision, bool /*deterministic: always*/) {
  Inputs in(query, key, value, query_order, query_offsets, key_order, key_offsets, center,
            normalize, precision);
  in.set_temperature(temperature);
  const int64_t softmax_N = value ? in.N : 0;
  const Tensor warped = in.empty({in.B, in.N, in.D}, in.sums());
  const Tensor similarity = in.empty({in.B, in.N}, in.sums());
  const Tensor index = in.empty({in.B, in.N}, ScalarType::Long);
  const Tensor lse = in.empty({in.B, softmax_N}, in.sums());
  const Tensor log_mass = in.empty({in.B, softmax_N}, in.sums());
  const Outputs out{target(warped), target(similarity), target(lse), target(log_mass),
                    static_cast<int64_t*>(target(index))};
  in.run([&](Workspace& workspace) {
    with_element(in.problem.query.element, [&](auto element) {
      correspondence<decltype(element)>(in.problem, out, workspace, in.stream());
    });
  });
  return {warped, similarity, index, lse, log_mass};
}

}  // namespace
}  // namespace spcolor

SPCOLOR_LIBRARY_IMPL(m) { m.impl("correspondence_cuda", TORCH_BOX(&spcolor::correspondence_cuda)); }
