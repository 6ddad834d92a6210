// correspondence_backward_cuda.
#include <tuple>

#include "correspondence_backward.cuh"
#include "inputs.h"

namespace spcolor {
namespace {

// A saved tensor as the kernels read it; keeps it alive.
struct Contiguous {
  Optional tensor;

  Contiguous(const char* name, const Optional& given, ScalarType dtype,
             std::initializer_list<int64_t> shape) {
    if (!given) return;
    check_dtype(name, *given, dtype);
    check_shape(name, *given, shape);
    tensor = torch::stable::contiguous(*given);
  }

  const void* data() const { return tensor ? data_of<void>(*tensor) : nullptr; }
};

std::tuple<Tensor, Tensor, Tensor, Tensor> correspondence_backward_cuda(
    const Optional& grad_warped, const Optional& grad_similarity, const Optional& grad_lse,
    const Tensor& query, const Tensor& key, const Optional& value, const Optional& query_order,
    const Tensor& query_offsets, const Optional& key_order, const Tensor& key_offsets,
    const Tensor& temperature, const Tensor& warped, const Tensor& similarity, const Tensor& index,
    const Tensor& log_mass, bool center, bool normalize, const std::string& precision,
    bool /*deterministic: always*/, double /*weight_cutoff: nothing is dropped*/, bool query_grad,
    bool key_grad, bool value_grad, bool temperature_grad) {
  Inputs in(query, key, value, query_order, query_offsets, key_order, key_offsets, center,
            normalize, precision);
  in.set_temperature(temperature);
  SPCOLOR_CHECK(value || !(grad_warped || grad_lse || value_grad),
                "value: expected a tensor, as its gradient or that of warped or lse is asked for");
  const ScalarType sums = in.sums();
  const int64_t B = in.B, N = in.N, softmax_N = value ? N : 0;
  const Contiguous saved[] = {{"grad_warped", grad_warped, sums, {B, N, in.D}},
                              {"grad_similarity", grad_similarity, sums, {B, N}},
                              {"grad_lse", grad_lse, sums, {B, softmax_N}},
                              {"warped", warped, sums, {B, N, in.D}},
                              {"similarity", similarity, sums, {B, N}},
                              {"log_mass", log_mass, sums, {B, softmax_N}},
                              {"index", index, ScalarType::Long, {B, N}}};
  const auto none = [&] { return torch::stable::new_empty(query, {0}); };
  const auto gradient = [&](bool is_wanted, const Tensor& like) {
    return is_wanted ? torch::stable::new_empty(like, like.sizes()) : none();
  };
  const auto place = [](bool is_wanted, const Tensor& grad) {
    return is_wanted ? target(grad) : nullptr;
  };
  const Tensor grad_query = gradient(query_grad, query), grad_key = gradient(key_grad, key);
  const Tensor grad_value = value_grad ? gradient(true, *value) : none();
  const Tensor grad_temperature = temperature_grad ? in.empty({}, sums) : none();
  const Gradients out{place(query_grad, grad_query), place(key_grad, grad_key),
                      place(value_grad, grad_value), place(temperature_grad, grad_temperature)};
  const Saved given{saved[0].data(),
                    saved[1].data(),
                    saved[2].data(),
                    saved[3].data(),
                    saved[4].data(),
                    saved[5].data(),
                    static_cast<const int64_t*>(saved[6].data())};
  in.run([&](Workspace& workspace) {
    with_element(in.problem.query.element, [&](auto element) {
      correspondence_backward<decltype(element)>(in.problem, given, out, workspace, in.stream());
    });
  });
  return {grad_query, grad_key, grad_value, grad_temperature};
}

}  // namespace
}  // namespace spcolor

SPCOLOR_LIBRARY_IMPL(m) {
  m.impl("correspondence_backward_cuda", TORCH_BOX(&spcolor::correspondence_backward_cuda));
}
