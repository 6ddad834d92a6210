#include "thread.h"

namespace emulator {
namespace {

struct Vote {
  uint64_t value;
  unsigned result;
};

Vote& vote_of(void* operands) { return *static_cast<Vote*>(operands); }

void count_votes(void* const operands[32], unsigned mask) {
  unsigned result = 0;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1 && vote_of(operands[i]).value) result |= 1u << i;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) vote_of(operands[i]).result = result;
}

void find_equals(void* const operands[32], unsigned mask) {
  for (unsigned i = 0; i < 32; ++i)
    for (unsigned j = 0; j < 32; ++j)
      if (mask >> i & mask >> j & 1 && vote_of(operands[i]).value == vote_of(operands[j]).value)
        vote_of(operands[i]).result |= 1u << j;
}

void order_lanes(void* const[32], unsigned mask) {
  std::vector<unsigned> lanes;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) lanes.push_back(thread_rank() - lane() + i);
  order_threads(lanes, lanes);
}

}  // namespace

unsigned ballot(unsigned mask, bool vote) {
  Vote mine{vote, 0};
  collective(mask, count_votes, &mine);
  return mine.result;
}

unsigned match(unsigned mask, uint64_t value) {
  Vote mine{value, 0};
  collective(mask, find_equals, &mine);
  return mine.result;
}

}  // namespace emulator

// The one warp collective that orders memory accesses.
void __syncwarp(unsigned mask) {
  int nothing = 0;
  emulator::collective(mask, emulator::order_lanes, &nothing);
}
