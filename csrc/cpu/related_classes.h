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
  int64_t query_rank, key_rank;  // first rank in the image's order
  int64_t query_row, key_row;    // first row in storage of a batch's rows, one after another
  int64_t query_slot, key_slot;  // first row in panels: each class begins a panel
  int64_t number;                // among all related classes
};

// Related classes that are worked on together.
struct Batch {
  std::vector<RelatedClass> list;
  int64_t query_rows = 0, key_rows = 0;  // totals
  int64_t query_slots = 0, key_slots = 0;

  void add(RelatedClass c, int64_t query_width, int64_t key_width) {
    c.query_row = query_rows;
    c.key_row = key_rows;
    c.query_slot = query_slots;
    c.key_slot = key_slots;
    list.push_back(c);
    query_rows += c.n;
    key_rows += c.m;
    query_slots += round_up(c.n, query_width);
    key_slots += round_up(c.m, key_width);
  }
};

// All related classes. A small batch fits a core's cache and is one core's task from the features
// to the result; the large classes form one batch whose every pass is shared by all cores.
struct Batches {
  std::vector<Batch> small;
  Batch large;
  int64_t count = 0;                     // of related classes
  int64_t query_rows = 0, key_rows = 0;  // positions that they have

  // Calls body(c) for every related class, in no particular order.
  template <class Body>
  void for_each_class(const Body& body) const {
    for (const RelatedClass& c : large.list) body(c);
    for (const Batch& batch : small)
      for (const RelatedClass& c : batch.list) body(c);
  }

  // Calls body(batch) for every batch.
  template <class Body>
  void run(const Body& body) const {
    if (!large.list.empty()) body(large);
    run_tasks(int64_t(small.size()), [&](int64_t task, int64_t) { body(small[task]); });
  }
};

// offsets: [B, K + 1] int32. Whatever they hold, ranks stay inside 0..N and no two classes overlap.
// row_bytes: of one position's features.
inline Batches related_classes(const Tensor& query_offsets, const Tensor& key_offsets, int64_t N,
                               int64_t M, int64_t row_bytes, int64_t query_width,
                               int64_t key_width) {
  constexpr int64_t small_bytes = 512 * 1024;
  const int64_t small_rows = small_bytes / row_bytes;
  const int64_t B = query_offsets.size(0), K = query_offsets.size(1) - 1;
  const int32_t* q = query_offsets.const_data_ptr<int32_t>();
  const int32_t* k = key_offsets.const_data_ptr<int32_t>();
  Batches batches;
  std::vector<RelatedClass> small;
  for (int64_t b = 0; b < B; ++b, q += K + 1, k += K + 1) {
    int64_t q_begin = std::clamp<int64_t>(q[0], 0, N), k_begin = std::clamp<int64_t>(k[0], 0, M);
    for (int64_t c = 0; c < K; ++c) {
      const int64_t q_end = std::clamp<int64_t>(q[c + 1], q_begin, N);
      const int64_t k_end = std::clamp<int64_t>(k[c + 1], k_begin, M);
      const int64_t n = q_end - q_begin, m = k_end - k_begin;
      if (n > 0 && m > 0) {
        const RelatedClass related = {b, c, n, m, q_begin, k_begin, 0, 0, 0, 0, batches.count++};
        batches.query_rows += n;
        batches.key_rows += m;
        if (n + m > small_rows)
          batches.large.add(related, query_width, key_width);
        else
          small.push_back(related);
      }
      q_begin = q_end;
      k_begin = k_end;
    }
  }
  // The longest first: what is left for the end is small. Many tiny classes share a batch.
  std::stable_sort(small.begin(), small.end(), [](const RelatedClass& a, const RelatedClass& b) {
    return a.n * a.m > b.n * b.m;
  });
  for (const RelatedClass& c : small) {
    const bool fits = !batches.small.empty() &&
                      batches.small.back().query_rows + batches.small.back().key_rows + c.n + c.m <=
                          std::min<int64_t>(small_rows, 256);
    if (!fits) batches.small.emplace_back();
    batches.small.back().add(c, query_width, key_width);
  }
  return batches;
}

// Checks a class order [B, N] int32 and returns it contiguous.
inline std::optional<Tensor> checked_order(const char* name, const std::optional<Tensor>& order,
                                           int64_t B, int64_t N) {
  if (!order) return std::nullopt;
  check_dtype(name, *order, ScalarType::Int);
  check_shape(name, *order, {B, N});
  Tensor dense = torch::stable::contiguous(*order);
  const int32_t* positions = dense.const_data_ptr<int32_t>();
  std::vector<char> seen(N);
  for (int64_t b = 0; b < B; ++b, positions += N) {
    std::fill(seen.begin(), seen.end(), 0);
    for (int64_t i = 0; i < N; ++i) {
      const bool is_new = 0 <= positions[i] && positions[i] < N && !seen[positions[i]];
      SPCOLOR_CHECK(is_new, name, ": expected every position of 0..", N - 1, " once, got ",
                    positions[i], " at rank ", i, " of image ", b);
      seen[positions[i]] = 1;
    }
  }
  return dense;
}

inline Tensor checked_offsets(const char* name, const Tensor& offsets, int64_t B, int64_t K) {
  check_dtype(name, offsets, ScalarType::Int);
  check_shape(name, offsets, {B, K + 1});
  return torch::stable::contiguous(offsets);
}

}  // namespace spcolor
