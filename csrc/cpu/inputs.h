// The arguments that every matching operator has, checked.
#pragma once

#include <string>

#include "unit_vectors.h"

namespace spcolor {

using Optional = std::optional<Tensor>;

struct MatchingInputs {
  Source query, key;                  // [B, N, C], [B, M, C]
  Tensor query_offsets, key_offsets;  // [B, K + 1]
  bool center, normalize;
  int64_t B, N, M, K;

  MatchingInputs(const Tensor& q, const Tensor& k, const Optional& query_order,
                 const Tensor& q_offsets, const Optional& key_order, const Tensor& k_offsets,
                 bool center, bool normalize, const std::string& precision)
      : query{"query", q, std::nullopt},
        key{"key", k, std::nullopt},
        query_offsets(q_offsets),
        key_offsets(k_offsets),
        center(center),
        normalize(normalize) {
    SPCOLOR_CHECK(q.dim() == 3, "query: expected shape [B, N, C], got ", shape_of(q));
    SPCOLOR_CHECK(k.dim() == 3, "key: expected shape [B, M, C], got ", shape_of(k));
    SPCOLOR_CHECK(q.size(2) >= 1, "query: expected at least one channel, got ", shape_of(q));
    SPCOLOR_CHECK(q_offsets.dim() == 2 && q_offsets.size(1) >= 2,
                  "query_offsets: expected shape [B, K + 1], got ", shape_of(q_offsets));
    SPCOLOR_CHECK(precision == "ieee", "precision: the CPU computes in 'ieee' only, got '",
                  precision, "'");
    B = q.size(0), N = q.size(1), M = k.size(1), K = q_offsets.size(1) - 1;
    SPCOLOR_CHECK(std::max(N, M) < (int64_t(1) << 31) - 4096, "query, key: too many positions");
    check_shape("key", k, {B, M, q.size(2)});
    check_dtype("key", k, q.scalar_type());
    query_offsets = checked_offsets("query_offsets", q_offsets, B, K);
    key_offsets = checked_offsets("key_offsets", k_offsets, B, K);
    query.order = checked_order("query_order", query_order, B, N);
    key.order = checked_order("key_order", key_order, B, M);
    if (K > 1) query.tensor = token_major(q), key.tensor = token_major(k);
  }

  bool is_double() const { return query.tensor.scalar_type() == ScalarType::Double; }
  ScalarType accumulation() const { return is_double() ? ScalarType::Double : ScalarType::Float; }

  template <class T>
  Batches batches(const Kernels<T>& kernels) const {
    return related_classes(query_offsets, key_offsets, N, M, query.tensor.size(2) * sizeof(T),
                           kernels.query_width, kernels.key_width);
  }
};

}  // namespace spcolor
