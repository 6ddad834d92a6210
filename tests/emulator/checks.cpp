#include "checks.h"

#include <algorithm>
#include <memory>

#include "block.h"
#include "fiber.h"
#include "memory.h"

// The linker's names for the begin and end of the module and of its static variables, in which
// static shared memory lies.
extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, __bss_start, _end;

namespace emulator {
namespace {

using Byte = unsigned char;

// The last accesses to two bytes. Two readers of different warps are remembered: whoever writes
// without a barrier meets at least one that it is not ordered after.
struct Cell {
  uint32_t block = 0;  // whose accesses these are
  uint32_t write = 0, reads[2] = {};
  uint16_t writer = 0, readers[2] = {};
  bool is_atomic = false, is_in_flight = false, is_by_proxy = false;
};

constexpr size_t cell_bytes = 2;

enum class Write { ordinary, copy, bulk_copy };

enum class Kind { shared, static_shared, global };

struct Region {
  Kind kind;
  const Byte* begin;
  size_t bytes;
  std::unique_ptr<Cell[]> cells;

  Region(Kind kind, const void* memory, size_t bytes)
      : kind(kind),
        begin(static_cast<const Byte*>(memory)),
        bytes(bytes),
        cells(new Cell[bytes / cell_bytes + 2]) {}

  bool contains(const Byte* p) const { return begin <= p && p < begin + bytes; }
};

std::vector<Region> lent;
const Stacks* stacks;
const Byte* closure;
size_t closure_bytes;

// Serial numbers of blocks, never used twice.
uint32_t block = 0, first_block_of_launch = 1;
bool block_has_synchronised;  // with earlier blocks, by an atomic access
bool is_atomic = false;

unsigned threads;
std::vector<uint32_t> clocks;  // [threads, threads]: what each knows of each
std::vector<uint32_t> fences;  // [threads]: clock of each one's last proxy fence

uint32_t* clock_of(unsigned thread) { return clocks.data() + size_t(thread) * threads; }

bool has_seen(unsigned thread, uint32_t clock, unsigned other) {
  return clock_of(thread)[other] >= clock;
}

Region& shared_region() {
  static Region region(Kind::shared, shared_memory(), most_shared_bytes);
  return region;
}

Region& static_region() {
  static Region region(Kind::static_shared, &__bss_start, size_t(&_end - &__bss_start));
  return region;
}

void release(Knowledge& knowledge, unsigned thread) {
  knowledge.resize(threads);
  for (unsigned i = 0; i < threads; ++i) knowledge[i] = std::max(knowledge[i], clock_of(thread)[i]);
  ++clock_of(thread)[thread];
}

void acquire(const Knowledge& knowledge, unsigned thread) {
  for (unsigned i = 0; i < knowledge.size(); ++i)
    clock_of(thread)[i] = std::max(clock_of(thread)[i], knowledge[i]);
}

bool is_own_variable(const Byte* p) {
  const auto* own = reinterpret_cast<const Byte*>(&indices);
  return own <= p && p < own + sizeof indices;
}

// Constants, the threads' stacks and the arguments need no look.
bool is_private(const Byte* p) {
  const auto* image = reinterpret_cast<const Byte*>(&__ehdr_start);
  const auto* statics = reinterpret_cast<const Byte*>(&__bss_start);
  return stacks->contains(p) || is_own_variable(p) || (image <= p && p < statics) ||
         (closure <= p && p < closure + closure_bytes);
}

std::string size_text(size_t bytes) { return std::to_string(bytes) + " bytes"; }

// The region that holds all of [p, p + bytes), null if it is private; fails if nobody lent it.
Region* region_of(const Byte* p, size_t bytes, const char* verb) {
  if (is_private(p)) return nullptr;
  if (shared_region().contains(p) ||
      static_cast<size_t>(p - shared_memory() + 4096) < most_shared_bytes + 2 * 4096) {
    const ptrdiff_t begin = p - shared_memory();
    if (begin < 0 || begin + bytes > shared_bytes())
      fail("out of bounds: " + std::string(verb) + " " + size_text(bytes) + " at offset " +
           std::to_string(begin) + " of " + size_text(shared_bytes()) + " of shared memory");
    return &shared_region();
  }
  if (static_region().contains(p)) return &static_region();
  for (Region& region : lent)
    if (region.contains(p) && region.contains(p + bytes - 1)) return &region;
  if (lent.empty()) return nullptr;
  std::string nearest;
  size_t least = SIZE_MAX;
  for (const Region& region : lent) {
    const size_t before = region.begin - p, behind = p - region.begin - region.bytes;
    const size_t distance = p < region.begin ? before : p + bytes - region.begin - region.bytes;
    if (distance >= least) continue;
    least = distance;
    nearest = p < region.begin ? size_text(before) + " before" : size_text(behind) + " behind";
    nearest += " an array of " + size_text(region.bytes);
  }
  fail("out of bounds: " + std::string(verb) + " " + size_text(bytes) + " of global memory, " +
       nearest);
}

template <class Visit>
void for_each_cell(const Region& region, const Byte* p, size_t bytes, const Visit& visit) {
  const size_t begin = p - region.begin;
  for (size_t i = begin / cell_bytes; i <= (begin + bytes - 1) / cell_bytes; ++i)
    visit(region.cells[i]);
}

std::string other_thread(unsigned thread) {
  return "thread " + std::to_string(thread) + " of the block";
}

const char* name(const Region& region) {
  return region.kind == Kind::global ? "global memory" : "shared memory";
}

// What an earlier block of this launch wrote, met by `verb` of this one.
void check_earlier_block(const Region& region, const Cell& cell, bool is_write) {
  if (region.kind != Kind::global || cell.block < first_block_of_launch || cell.write == 0) return;
  if (cell.is_atomic && is_atomic) return;
  if (!block_has_synchronised)
    fail(std::string("race: ") + (is_write ? "writes" : "reads") +
         " global memory that another block of the launch wrote");
}

void check_write_before(const Region& region, const Cell& cell, unsigned thread, const char* verb) {
  if (cell.is_in_flight)
    fail(std::string("race: ") + verb + " shared memory that an asynchronous copy of " +
         other_thread(cell.writer) + " still writes");
  if (cell.write && !(cell.is_atomic && is_atomic) && !has_seen(thread, cell.write, cell.writer))
    fail(std::string("race: ") + verb + " " + name(region) + " that " + other_thread(cell.writer) +
         " wrote, with no barrier in between");
}

void read(const void* address, size_t bytes, unsigned thread, bool is_by_proxy = false) {
  const auto* p = static_cast<const Byte*>(address);
  Region* region = bytes ? region_of(p, bytes, "reads") : nullptr;
  if (!region) return;
  for_each_cell(*region, p, bytes, [&](Cell& cell) {
    if (cell.block != block) {
      check_earlier_block(*region, cell, false);
      if (region->kind == Kind::static_shared)
        fail("reads shared memory that its block has not written");
      if (cell.block >= first_block_of_launch && cell.write) return;  // keep the writer in mind
      cell = Cell{block};
    }
    check_write_before(*region, cell, thread, "reads");
    if (is_by_proxy && cell.write && !cell.is_by_proxy && fences[cell.writer] < cell.write)
      fail("race: wgmma reads shared memory that " + other_thread(cell.writer) +
           " wrote, with no fence.proxy.async in between");
    const unsigned slot = cell.reads[0] && cell.readers[0] / 32 != thread / 32;
    cell.reads[slot] = clock_of(thread)[thread];
    cell.readers[slot] = uint16_t(thread);
  });
}

void write(const void* address, size_t bytes, Write how) {
  const auto* p = static_cast<const Byte*>(address);
  const unsigned thread = thread_rank();
  Region* region = bytes ? region_of(p, bytes, "writes") : nullptr;
  if (!region) return;
  for_each_cell(*region, p, bytes, [&](Cell& cell) {
    if (cell.block != block) {
      check_earlier_block(*region, cell, true);
      cell = Cell{block};
    }
    check_write_before(*region, cell, thread, "writes");
    for (int i = 0; i < 2 && !is_atomic; ++i)
      if (cell.reads[i] && !has_seen(thread, cell.reads[i], cell.readers[i]))
        fail(std::string("race: writes ") + name(*region) + " that " +
             other_thread(cell.readers[i]) + " read, with no barrier in between");
    cell = Cell{block};
    cell.write = clock_of(thread)[thread];
    cell.writer = uint16_t(thread);
    cell.is_atomic = is_atomic;
    cell.is_in_flight = how != Write::ordinary;
    cell.is_by_proxy = how == Write::bulk_copy;
  });
}

}  // namespace

void lend(const void* memory, size_t bytes) {
  if (bytes) lent.emplace_back(Kind::global, memory, checked ? bytes : 0);
}

void take_back() { lent.clear(); }

void begin_launch(const Stacks& of_threads, const void* arguments, size_t argument_bytes) {
  stacks = &of_threads;
  closure = static_cast<const Byte*>(arguments);
  closure_bytes = argument_bytes;
  first_block_of_launch = block + 1;
}

void begin_checks_of_block(unsigned block_threads) {
  ++block;
  block_has_synchronised = is_atomic = false;
  threads = block_threads;
  if (!checked) return;
  clocks.assign(size_t(threads) * threads, 0);
  fences.assign(threads, 0);
  for (unsigned i = 0; i < threads; ++i) clock_of(i)[i] = 1;
}

void order_threads(const std::vector<unsigned>& released, const std::vector<unsigned>& acquired) {
  if (!checked) return;
  static Knowledge known;
  known.clear();
  for (unsigned i : released) release(known, i);
  for (unsigned i : acquired) acquire(known, i);
}

void release(Knowledge& knowledge) {
  if (checked) release(knowledge, thread_rank());
}

void acquire(const Knowledge& knowledge) {
  if (checked) acquire(knowledge, thread_rank());
}

uint32_t clock_of_running_thread() { return checked ? clock_of(thread_rank())[thread_rank()] : 0; }

void add_progress(Knowledge& knowledge, unsigned thread, uint32_t clock) {
  if (!checked) return;
  knowledge.resize(threads);
  knowledge[thread] = std::max(knowledge[thread], clock);
}

void record_read(const void* address, size_t bytes) {
  if (checked) read(address, bytes, thread_rank());
}

void record_read(const void* address, size_t bytes, unsigned lane_of_reader) {
  if (checked) read(address, bytes, thread_rank() - lane() + lane_of_reader);
}

void record_write(const void* address, size_t bytes) {
  if (checked) write(address, bytes, Write::ordinary);
}

void record_copy(const void* address, size_t bytes) {
  if (checked) write(address, bytes, Write::copy);
}

void record_bulk_copy(const void* address, size_t bytes) {
  if (checked) write(address, bytes, Write::bulk_copy);
}

void record_arrival(const void* address, size_t bytes) {
  if (!checked) return;
  for_each_cell(shared_region(), static_cast<const Byte*>(address), bytes,
                [](Cell& cell) { cell.is_in_flight = false; });
}

void record_proxy_read(const void* address, size_t bytes, unsigned lane_of_reader) {
  if (checked) read(address, bytes, thread_rank() - lane() + lane_of_reader, true);
}

void fence_proxy() {
  if (!checked) return;
  const unsigned thread = thread_rank();
  fences[thread] = clock_of(thread)[thread]++;
}

void begin_atomic(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes) fail("an atomic access that is not aligned");
  is_atomic = true;
}

void end_atomic() {
  is_atomic = false;
  block_has_synchronised = true;
}

}  // namespace emulator
