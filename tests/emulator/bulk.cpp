#include "bulk.h"

#include <map>
#include <vector>

#include "checks.h"
#include "memory.h"

namespace emulator {
namespace {

constexpr unsigned box_bytes = 128, chunk_bytes = 16;  // of a row

// A phase ends when all have arrived and all expected bytes have come.
struct Mbarrier {
  unsigned arrivals = 0, missing = 0;
  int64_t missing_bytes = 0;
  unsigned phase = 0;
  bool has_unseen_copies = false;  // that nobody has waited for
  Knowledge arrived, completed;    // of the running phase, and of those before

  void finish_phase_if_complete() {
    if (missing > 0 || missing_bytes != 0) return;
    missing = arrivals;
    completed = arrived;
    ++phase;
    wake(this);
  }
};

struct BulkCopy {
  unsigned char* shared;
  TensorMap map;
  int x, y;
  Mbarrier* barrier;
  unsigned thread;
  uint32_t clock;  // of the thread when it was issued

  // The part of row `row` of the box that lies inside of the matrix.
  size_t bytes_inside(unsigned row) const {
    const int64_t at = int64_t(y) + row;
    if (at < 0 || at >= int64_t(map.rows) || x < 0 || x >= int64_t(map.row_bytes)) return 0;
    return std::min<size_t>(box_bytes, map.row_bytes - x);
  }
  const unsigned char* row(unsigned i) const { return map.data + (y + i) * map.row_bytes + x; }
  size_t bytes() const { return size_t(map.box_rows) * box_bytes; }
};

std::map<const uint64_t*, Mbarrier> mbarriers;
std::vector<BulkCopy> copies;

Mbarrier& find(const uint64_t* barrier) {
  const auto found = mbarriers.find(barrier);
  if (found == mbarriers.end()) fail("an mbarrier that nobody has initialised");
  record_read(barrier, sizeof *barrier);
  return found->second;
}

void perform(const BulkCopy& copy) {
  for (unsigned row = 0; row < copy.map.box_rows; ++row)
    for (unsigned chunk = 0; chunk < box_bytes / chunk_bytes; ++chunk) {
      unsigned char* to = copy.shared + row * box_bytes + (chunk ^ row % 8) * chunk_bytes;
      const bool is_inside = chunk * chunk_bytes < copy.bytes_inside(row);
      if (is_inside)
        std::memcpy(to, copy.row(row) + chunk * chunk_bytes, chunk_bytes);
      else
        std::memset(to, 0, chunk_bytes);
    }
  record_arrival(copy.shared, copy.bytes());
  add_progress(copy.barrier->arrived, copy.thread, copy.clock);
  copy.barrier->has_unseen_copies = true;
  copy.barrier->missing_bytes -= int64_t(copy.bytes());
  copy.barrier->finish_phase_if_complete();
}

}  // namespace

void begin_bulk_copies_of_block() {
  mbarriers.clear();
  copies.clear();
}

bool has_unseen_bulk_copies() {
  return !copies.empty() || std::any_of(mbarriers.begin(), mbarriers.end(), [](const auto& entry) {
    return entry.second.has_unseen_copies;
  });
}

bool complete_bulk_copy() {
  if (copies.empty()) return false;
  const size_t i = random(copies.size());
  const BulkCopy copy = copies[i];
  copies.erase(copies.begin() + ptrdiff_t(i));
  perform(copy);
  return true;
}

void initialise_mbarrier(const uint64_t* barrier, unsigned arrivals) {
  shared_address(barrier);
  if (arrivals == 0) fail("an mbarrier for no arrivals");
  record_write(barrier, sizeof *barrier);
  Mbarrier& state = mbarriers[barrier] = {};
  state.arrivals = state.missing = arrivals;
}

void arrive_at_mbarrier(const uint64_t* barrier, unsigned expected_bytes) {
  Mbarrier& state = find(barrier);
  if (state.missing == 0) fail("more arrivals at an mbarrier than it was initialised for");
  release(state.arrived);
  --state.missing;
  state.missing_bytes += expected_bytes;
  state.finish_phase_if_complete();
}

void wait_for_mbarrier(const uint64_t* barrier, unsigned parity) {
  Mbarrier& state = find(barrier);
  while (state.phase % 2 == parity) sleep(&state, "at an mbarrier whose phase does not end");
  acquire(state.completed);
  state.has_unseen_copies = false;
}

void load_box(void* shared, const TensorMap& map, const uint64_t* barrier, int x, int y) {
  constexpr unsigned swizzle_period = 1024;
  if (shared_address(shared) % swizzle_period)
    fail("TMA with a swizzle of 128 bytes to an address not aligned to 1024");
  const BulkCopy copy{static_cast<unsigned char*>(shared),
                      map,
                      x,
                      y,
                      &find(barrier),
                      thread_rank(),
                      clock_of_running_thread()};
  for (unsigned row = 0; row < map.box_rows; ++row)
    if (const size_t bytes = copy.bytes_inside(row)) record_read(copy.row(row), bytes);
  record_bulk_copy(shared, copy.bytes());
  copies.push_back(copy);
}

}  // namespace emulator
