// cosine_similarity_cuda and its backward.
#include <tuple>

#include "cosine_similarity.cuh"
#include "inputs.h"

namespace spcolor {
namespace {

CosineBlocks blocks_of(const Inputs& in, const Tensor& values, const Tensor& offsets) {
  check_dtype("block_offsets", offsets, ScalarType::Long);
  check_shape("block_offsets", offsets, {in.B * in.K + 1});
  return {target(values), data_of<int64_t>(offsets), values.numel()};
}

Tensor cosine_similarity_cuda(const Tensor& query,          // [B, N, C]
                              const Tensor& key,            // [B, M, C]
                              const Tensor& query_order,    // [B, N]
                              const Tensor& query_offsets,  // [B, K + 1]
                              const Tensor& key_order,      // [B, M]
                              const Tensor& key_offsets,    // [B, K + 1]
                              const Tensor& block_offsets,  // [B * K + 1]
                              int64_t total_size, bool center, bool normalize,
                              const std::string& precision, bool /*deterministic: always*/) {
  const Inputs in(query, key, std::nullopt, query_order, query_offsets, key_order, key_offsets,
                  center, normalize, precision);
  SPCOLOR_CHECK(total_size >= 0, "total_size: expected at least 0, got ", total_size);
  const Tensor values = torch::stable::new_zeros(query, {total_size}, in.sums());
  const Tensor offsets = torch::stable::contiguous(block_offsets);
  const CosineBlocks blocks = blocks_of(in, values, offsets);
  in.run([&](Workspace& workspace) {
    with_element(in.problem.query.element, [&](auto element) {
      cosine_similarity<decltype(element)>(in.problem, blocks, workspace, in.stream());
    });
  });
  return values;
}

std::tuple<Tensor, Tensor> cosine_similarity_backward_cuda(
    const Tensor& grad,  // [total_size]
    const Tensor& query, const Tensor& key, const Tensor& query_order, const Tensor& query_offsets,
    const Tensor& key_order, const Tensor& key_offsets, const Tensor& block_offsets, bool center,
    bool normalize, const std::string& precision, bool /*deterministic: always*/) {
  const Inputs in(query, key, std::nullopt, query_order, query_offsets, key_order, key_offsets,
                  center, normalize, precision);
  SPCOLOR_CHECK(grad.dim() == 1, "grad: expected shape [total_size], got ", shape_of(grad));
  check_dtype("grad", grad, in.sums());
  const Tensor values = torch::stable::contiguous(grad);
  const Tensor offsets = torch::stable::contiguous(block_offsets);
  const Tensor grad_query = torch::stable::new_empty(query, query.sizes());
  const Tensor grad_key = torch::stable::new_empty(key, key.sizes());
  const Gradients out{target(grad_query), target(grad_key), nullptr, nullptr};
  const CosineBlocks blocks = blocks_of(in, values, offsets);
  in.run([&](Workspace& workspace) {
    with_element(in.problem.query.element, [&](auto element) {
      cosine_similarity_backward<decltype(element)>(in.problem, blocks, out, workspace,
                                                    in.stream());
    });
  });
  return {grad_query, grad_key};
}

}  // namespace
}  // namespace spcolor

SPCOLOR_LIBRARY_IMPL(m) {
  m.impl("cosine_similarity_cuda", TORCH_BOX(&spcolor::cosine_similarity_cuda));
  m.impl("cosine_similarity_backward_cuda", TORCH_BOX(&spcolor::cosine_similarity_backward_cuda));
}
