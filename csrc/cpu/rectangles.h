// How a backward shares its work: every class's n x m scores in P x P rectangles, taken in P
// rounds. Round t holds the rectangles (i, (i + t) mod P). Within a round no two of them touch the
// same query or key rows, so gradients are added in place, without partial copies, in an order that
// the shape alone decides.
#pragma once

#include "unit_vectors.h"

namespace spcolor {

struct Rectangle {
  int64_t group;
  int64_t first_row, rows;  // within the class
  int64_t first_key, keys;
};

inline std::vector<std::vector<Rectangle>> rectangle_rounds(const Batch& batch, int64_t query_width,
                                                            int64_t key_width) {
  constexpr int64_t side = 256;  // small enough to share a class of 4096 among 16 threads
  std::vector<std::vector<Rectangle>> rounds;
  for (int64_t g = 0; g < int64_t(batch.list.size()); ++g) {
    const RelatedClass& c = batch.list[g];
    const int64_t parts = std::max<int64_t>(1, std::min(c.n, c.m) / side);
    const int64_t rows = round_up(ceil_div(c.n, parts), query_width);
    const int64_t keys = round_up(ceil_div(c.m, parts), key_width);
    if (int64_t(rounds.size()) < parts) rounds.resize(parts);
    for (int64_t t = 0; t < parts; ++t)
      for (int64_t i = 0; i < parts; ++i) {
        const int64_t row = i * rows, key = (i + t) % parts * keys;
        if (row < c.n && key < c.m)
          rounds[t].push_back({g, row, std::min(rows, c.n - row), key, std::min(keys, c.m - key)});
      }
  }
  // The largest first: what is left for the end of a round is small.
  for (auto& round : rounds)
    std::stable_sort(round.begin(), round.end(), [](const Rectangle& a, const Rectangle& b) {
      return a.rows * a.keys > b.rows * b.keys;
    });
  return rounds;
}

// Calls body(rectangle, scratch), round after round.
template <class Body>
void run_rectangles(const std::vector<std::vector<Rectangle>>& rounds, const Body& body) {
  size_t most = 1;
  for (const auto& round : rounds) most = std::max(most, round.size());
  const Buffer<char> scratch(workers_for(int64_t(most)) * backward_scratch_bytes);
  for (const auto& round : rounds)
    run_tasks(int64_t(round.size()), [&](int64_t task, int64_t worker) {
      body(round[task], scratch.get() + worker * backward_scratch_bytes);
    });
}

}  // namespace spcolor
