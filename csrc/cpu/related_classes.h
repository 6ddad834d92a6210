// The classes that target and reference share, and where each one's rows lie in packed storage.
#pragma once

#include <algorithm>
#include <vector>

#include "../checks.h"
#include "parallel.h"

namespace spcolor {

// One class of one image that has n query and m key positions, neither of them none.
struct RelatedClass {
  int64_t image, segment;
  int64_t n, m;
  int64_t query_rank, key_rank;    // first rank in the image's order
  int64_t query_row, key_row;      // first row in storage of related rows, one after another
  int64_t query_slot, key_slot;    // first row in panels: each class begins a panel
};

struct RelatedClasses {
  std::vector<RelatedClass> list;
  int64_t query_rows = 0, key_rows = 0;    // totals
  int64_t query_slots = 0, key_slots = 0;
};

// offsets: [B, K + 1] int32. Whatever they hold, ranks stay inside 0..N and no two classes overlap.
inline RelatedClasses related_classes(const Tensor& query_offsets, const Tensor& key_offsets,
                                      int64_t N, int64_t M, int64_t query_width,
                                      int64_t key_width) {
  const int64_t B = query_offsets.size(0), K = query_offsets.size(1) - 1;
  RelatedClasses related;
  for (int64_t b = 0; b < B; ++b) {
    const int32_t* q = query_offsets.const_data_ptr<int32_t>() + b * (K + 1);
    const int32_t* k = key_offsets.const_data_ptr<int32_t>() + b * (K + 1);
    const auto clamp = [](int64_t x, int64_t low, int64_t high) {
      return std::min(std::max(x, low), high);
    };
    int64_t q_begin = clamp(q[0], 0, N), k_begin = clamp(k[0], 0, M);
    for (int64_t c = 0; c < K; ++c) {
      const int64_t q_end = clamp(q[c + 1], q_begin, N), k_end = clamp(k[c + 1], k_begin, M);
      const int64_t n = q_end - q_begin, m = k_end - k_begin;
      if (n > 0 && m > 0) {
        related.list.push_back({b, c, n, m, q_begin, k_begin, related.query_rows, related.key_rows,
                                related.query_slots, related.key_slots});
        related.query_rows += n;
        related.key_rows += m;
        related.query_slots += round_up(n, query_width);
        related.key_slots += round_up(m, key_width);
      }
      q_begin = q_end;
      k_begin = k_end;
    }
  }
  return related;
}

// Checks a class order [B, N] int32 and returns it contiguous.
inline std::optional<Tensor> checked_order(const char* name, const std::optional<Tensor>& order,
                                           int64_t B, int64_t N) {
  if (!order) return std::nullopt;
  check_dtype(name, *order, ScalarType::Int);
  check_shape(name, *order, {B, N});
  Tensor dense = torch::stable::contiguous(*order);
  const int32_t* positions = dense.const_data_ptr<int32_t>();
  bool inside = true;
  for (int64_t i = 0; i < B * N; ++i) inside &= 0 <= positions[i] && positions[i] < N;
  SPCOLOR_CHECK(inside, name, ": expected positions in 0..", N - 1);
  return dense;
}

inline Tensor checked_offsets(const char* name, const Tensor& offsets, int64_t B, int64_t K) {
  check_dtype(name, offsets, ScalarType::Int);
  check_shape(name, offsets, {B, K + 1});
  return torch::stable::contiguous(offsets);
}

}  // namespace spcolor
