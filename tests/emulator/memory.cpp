#include "memory.h"

#include <deque>
#include <vector>

#include "checks.h"

namespace emulator {
namespace {

// A guard of a known pattern on each side of the block's shared memory finds stray writes in
// builds that do not look at every access.
constexpr size_t guard_bytes = 4096;
constexpr unsigned char guard_pattern = 0xa5, poison = 0xff;  // 0xff..: NaN in every float type

alignas(1024) unsigned char arena[guard_bytes + most_shared_bytes + guard_bytes];
size_t arena_bytes = 0;

bool is_guard(const unsigned char* begin) {
  return std::all_of(begin, begin + guard_bytes, [](auto byte) { return byte == guard_pattern; });
}

struct Copy {
  void* shared;
  const void* global;
  size_t bytes, source_bytes;
  bool has_arrived;
};

struct Copies {
  std::vector<Copy> open;                // since the last commit
  std::deque<std::vector<Copy>> groups;  // oldest first
};

std::vector<Copies> copies;  // of each thread

void arrive(Copy& copy) {
  if (copy.has_arrived) return;
  std::memcpy(copy.shared, copy.global, copy.source_bytes);
  std::memset(static_cast<char*>(copy.shared) + copy.source_bytes, 0,
              copy.bytes - copy.source_bytes);
  copy.has_arrived = true;
}

}  // namespace

unsigned char* shared_memory() { return arena + guard_bytes; }
size_t shared_bytes() { return arena_bytes; }

void begin_memory_of_block(unsigned threads, size_t bytes) {
  arena_bytes = bytes;
  std::memset(arena, guard_pattern, guard_bytes);
  std::memset(shared_memory(), poison, bytes);
  std::memset(shared_memory() + bytes, guard_pattern, guard_bytes);
  copies.assign(threads, {});
}

bool shared_guards_are_intact() {
  return is_guard(arena) && is_guard(shared_memory() + arena_bytes);
}

bool has_copies_in_flight(unsigned thread) {
  const auto unfinished = [](const std::vector<Copy>& group) { return !group.empty(); };
  return unfinished(copies[thread].open) ||
         std::any_of(copies[thread].groups.begin(), copies[thread].groups.end(), unfinished);
}

uint32_t shared_address(const void* pointer) {
  const auto* p = static_cast<const unsigned char*>(pointer);
  if (p < shared_memory() || p > shared_memory() + arena_bytes)
    fail("the address of something that is not in dynamic shared memory");
  return static_cast<uint32_t>(p - shared_memory());
}

unsigned char* shared_pointer(uint32_t address) { return shared_memory() + address; }

void copy_async(void* shared, const void* global, size_t bytes, size_t source_bytes) {
  const auto is_aligned = [&](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
  };
  if (!is_aligned(shared) || !is_aligned(global))
    fail("cp.async of " + std::to_string(bytes) + " bytes between addresses not aligned to that");
  if (source_bytes > bytes) fail("cp.async reads more than it writes");
  shared_address(shared);
  record_read(global, source_bytes);
  record_copy(shared, bytes);
  Copy copy{shared, global, bytes, source_bytes, false};
  if (random(2)) arrive(copy);
  copies[thread_rank()].open.push_back(copy);
}

void commit_copies() {
  Copies& mine = copies[thread_rank()];
  mine.groups.push_back(std::move(mine.open));
  mine.open.clear();
}

void wait_for_copies(size_t groups_in_flight) {
  Copies& mine = copies[thread_rank()];
  while (mine.groups.size() > groups_in_flight) {
    for (Copy& copy : mine.groups.front()) {
      arrive(copy);
      record_arrival(copy.shared, copy.bytes);
    }
    mine.groups.pop_front();
  }
}

}  // namespace emulator
