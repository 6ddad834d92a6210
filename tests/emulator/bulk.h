// Twins of Hopper's mbarriers and of TMA, whose copies run beside all threads.
#pragma once

#include "block.h"

namespace emulator {

// A matrix in global memory that TMA cuts boxes of 128-byte rows from.
struct TensorMap {
  const unsigned char* data;  // [rows, row_bytes]
  uint64_t row_bytes, rows;
  uint32_t box_rows;
};

void begin_bulk_copies_of_block();
bool has_unseen_bulk_copies();  // in flight, or never waited for
bool complete_bulk_copy();      // any one; false if there is none

// The state of an mbarrier lies outside of its 64 bits, which nothing but these may touch.
void initialise_mbarrier(const uint64_t* barrier, unsigned arrivals);
void arrive_at_mbarrier(const uint64_t* barrier, unsigned expected_bytes);
void wait_for_mbarrier(const uint64_t* barrier, unsigned parity);

// Copies the box whose corner is byte x of row y to shared memory: a row after the other, the
// 16-byte chunks of each permuted by its number. What lies outside of the matrix is 0.
void load_box(void* shared, const TensorMap& map, const uint64_t* barrier, int x, int y);

}  // namespace emulator
