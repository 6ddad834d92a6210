#include "block.h"

#include <sys/mman.h>

#include <array>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "bulk.h"
#include "checks.h"
#include "fiber.h"
#include "memory.h"
#include "wgmma.h"

namespace emulator {

Indices indices;

namespace {

constexpr unsigned warp_size = 32, most_threads = 1024, barriers = 16;

enum class State { ready, collective, barrier, asleep, done };

struct Thread {
  Suspended suspended;
  State state;
  const void* event;  // that an asleep thread waits for
  const char* what;
};

// The collective that some lanes of a warp have reached.
struct Meeting {
  unsigned mask = 0, arrived = 0;
  Collective perform = nullptr;
  void* operands[warp_size];
};

struct Barrier {
  unsigned threads = 0, arrived = 0, votes = 0;
  const char* site = nullptr;
  std::vector<unsigned> members;  // who has arrived, those that do not wait among them
  std::vector<unsigned> waiting;
  Votes result{};
};

// Everything about the block that runs; there is one at a time.
struct Block {
  Launch launch;
  Body body;
  const void* closure;
  unsigned size;
  std::vector<Thread> threads;
  std::vector<Meeting> meetings;  // of each warp
  std::array<Barrier, barriers> barrier;
  unsigned current, done;
  Suspended scheduler;
  std::string error;
};

Block block;
bool in_launch = false;
Stacks stacks;
uint64_t seed_value = 0;
std::mt19937_64 generator;

Thread& current() { return block.threads[block.current]; }
Meeting& meeting() { return block.meetings[block.current / warp_size]; }

std::string text(const uint3& i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}

void suspend(State state) {
  Thread& me = current();
  me.state = state;
  emulator_switch(&me.suspended, block.scheduler);
}

void enter() {
  block.body(block.closure);
  if (has_copies_in_flight(thread_rank())) fail("returns before its cp.async copies have arrived");
  if (has_products_in_flight(thread_rank())) fail("returns before its wgmma products are complete");
  ++block.done;
  suspend(State::done);
  __builtin_unreachable();
}

uint3 unravel(uint64_t i, const dim3& size) {
  return {unsigned(i % size.x), unsigned(i / size.x % size.y), unsigned(i / size.x / size.y)};
}

void resume(unsigned rank) {
  block.current = rank;
  indices.thread = unravel(rank, block.launch.block);
  emulator_switch(&block.scheduler, block.threads[rank].suspended);
}

// Where everybody is, when nobody can go on.
std::string deadlock() {
  std::map<std::string, unsigned> places;
  for (const Thread& thread : block.threads) {
    switch (thread.state) {
      case State::collective:
        ++places["in a warp collective that lacks lanes of its mask"];
        break;
      case State::barrier:
        ++places["at a barrier that lacks threads"];
        break;
      case State::asleep:
        ++places[thread.what];
        break;
      case State::done:
        ++places["returned"];
        break;
      case State::ready:
        break;
    }
  }
  std::string message = "deadlock:";
  for (const auto& [place, count] : places)
    message += " " + std::to_string(count) + " threads " + place + ";";
  return message.substr(0, message.size() - 1);
}

std::vector<unsigned> in_order(unsigned count) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// Runs the ready lanes of a warp once; false if there were none.
bool run_warp(unsigned warp, const std::vector<unsigned>& lanes) {
  bool moved = false;
  for (unsigned lane : lanes) {
    const unsigned rank = warp * warp_size + lane;
    if (rank >= block.size || block.threads[rank].state != State::ready) continue;
    moved = true;
    resume(rank);
    if (!block.error.empty()) return true;
  }
  return moved;
}

void run_threads() {
  std::vector<unsigned> warps = in_order((block.size + warp_size - 1) / warp_size);
  std::vector<unsigned> lanes = in_order(warp_size);
  while (block.done < block.size) {
    bool moved = false;
    if (is_shuffled()) std::shuffle(warps.begin(), warps.end(), generator);
    for (unsigned warp : warps) {
      if (is_shuffled()) {
        std::shuffle(lanes.begin(), lanes.end(), generator);
        if (random(2)) complete_bulk_copy();
      }
      // In order, a warp runs as far ahead of the others as it can.
      while (run_warp(warp, lanes)) {
        if (!block.error.empty()) return;
        moved = true;
        if (is_shuffled()) break;
      }
    }
    if (!moved && block.done < block.size && !complete_bulk_copy()) {
      block.error = deadlock();
      return;
    }
  }
}

void run_block(uint3 index) {
  indices.block = index;
  block.done = 0;
  block.error.clear();
  block.meetings.assign((block.size + warp_size - 1) / warp_size, {});
  block.barrier.fill({});
  block.threads.resize(block.size);
  for (unsigned i = 0; i < block.size; ++i)
    block.threads[i] = {fresh_fiber(stacks.top(i), enter), State::ready, nullptr, nullptr};
  begin_memory_of_block(block.size, block.launch.shared_bytes);
  begin_checks_of_block(block.size);
  begin_bulk_copies_of_block();
  begin_products_of_block(block.size);
  run_threads();
  if (block.error.empty() && !shared_guards_are_intact())
    block.error = "out of bounds: wrote beside its shared memory";
  if (block.error.empty() && has_unseen_bulk_copies())
    block.error = "returns without having waited for its TMA copies";
  if (!block.error.empty())
    throw Error(std::string(block.launch.kernel) + ", block " + text(index) + ": " + block.error);
}

void check(const Launch& launch) {
  const auto volume = [](const dim3& d) { return uint64_t(d.x) * d.y * d.z; };
  const bool valid = volume(launch.grid) > 0 && launch.grid.y <= 65535 && launch.grid.z <= 65535 &&
                     launch.grid.x <= 0x7fffffff && volume(launch.block) > 0 &&
                     volume(launch.block) <= most_threads && launch.block.z <= 64 &&
                     launch.shared_bytes <= most_shared_bytes;
  if (!valid)
    throw Error(std::string(launch.kernel) + ": invalid launch of grid " +
                text({launch.grid.x, launch.grid.y, launch.grid.z}) + ", block " +
                text({launch.block.x, launch.block.y, launch.block.z}) + ", " +
                std::to_string(launch.shared_bytes) + " bytes of shared memory");
}

}  // namespace

void seed(uint64_t value) {
  seed_value = value;
  generator.seed(value);
}

bool is_shuffled() { return seed_value != 0; }

uint64_t random(uint64_t bound) { return is_shuffled() ? generator() % bound : 0; }

void run(const Launch& launch, Body body, const void* closure, size_t closure_bytes) {
  if (in_launch) throw Error("a launch inside of a launch");
  check(launch);
  block.launch = launch;
  block.body = body;
  block.closure = closure;
  block.size = launch.block.x * launch.block.y * launch.block.z;
  indices.block_size = launch.block;
  indices.grid_size = launch.grid;
  stacks.reserve(block.size);
  begin_launch(stacks, closure, closure_bytes);

  std::vector<unsigned> blocks = in_order(launch.grid.x * launch.grid.y * launch.grid.z);
  if (is_shuffled()) std::shuffle(blocks.begin(), blocks.end(), generator);
  struct Running {
    Running() { in_launch = true; }
    ~Running() { in_launch = false; }
  } running;
  for (unsigned i : blocks) run_block(unravel(i, launch.grid));
}

bool is_running() { return in_launch; }

void fail(const std::string& message) {
  if (!in_launch) throw Error(message);
  block.error = "thread " + text(indices.thread) + ": " + message;
  suspend(State::done);
  __builtin_unreachable();
}

void fail(const char* message) { fail(std::string(message)); }

unsigned thread_rank() { return block.current; }
unsigned lane() { return block.current % warp_size; }

void collective(unsigned mask, Collective perform, void* operands) {
  Meeting& here = meeting();
  const unsigned bit = 1u << lane();
  const unsigned first = block.current - lane(), left = block.size - first;
  if (left < warp_size) mask &= (1u << left) - 1;  // a full mask in a warp that is not full
  if (!(mask & bit)) fail("a lane that is not in the mask of its own warp collective");
  if (here.arrived == 0) {
    here.mask = mask;
    here.perform = perform;
    std::fill(std::begin(here.operands), std::end(here.operands), nullptr);
  } else if (here.perform != perform || here.mask != mask) {
    fail("lanes of a warp are at different warp collectives, or disagree about the mask");
  }
  here.operands[lane()] = operands;
  here.arrived |= bit;
  if (here.arrived != mask) return suspend(State::collective);

  const Meeting complete = here;
  here.arrived = 0;
  complete.perform(complete.operands, mask);
  for (unsigned i = 0; i < warp_size && first + i < block.size; ++i)
    if ((mask >> i & 1) && i != lane()) block.threads[first + i].state = State::ready;
}

namespace {

// Adds the running thread; the last one lets all go on.
void join_barrier(Barrier& barrier, unsigned threads, const char* site, bool vote, bool waits) {
  if (threads % warp_size && threads != block.size)
    fail("a barrier for " + std::to_string(threads) + " threads, which are no whole warps");
  if (barrier.arrived == 0) {
    barrier.threads = threads;
    barrier.site = site;
  } else if (barrier.threads != threads) {
    fail("threads disagree about how many meet at a barrier");
  } else if (barrier.site != site) {
    fail("divergent barrier: some threads wait at " + std::string(barrier.site) + ", this one at " +
         site);
  }
  barrier.members.push_back(block.current);
  if (waits) barrier.waiting.push_back(block.current);
  ++barrier.arrived;
  barrier.votes += vote;
  if (barrier.arrived < barrier.threads) return;

  order_threads(barrier.members, barrier.waiting);
  barrier.result = {barrier.votes, barrier.threads};
  for (unsigned i : barrier.waiting) block.threads[i].state = State::ready;
  barrier.arrived = barrier.votes = 0;
  barrier.members.clear();
  barrier.waiting.clear();
}

Barrier& named(unsigned id) {
  if (id >= barriers) fail("barrier " + std::to_string(id) + ": there are 16");
  return block.barrier[id];
}

}  // namespace

Votes wait_at_barrier(unsigned id, unsigned threads, const char* site, bool vote) {
  Barrier& barrier = named(id);
  current().state = State::barrier;
  join_barrier(barrier, threads, site, vote, true);
  if (current().state == State::barrier) suspend(State::barrier);
  return barrier.result;
}

void arrive_at_barrier(unsigned id, unsigned threads) {
  join_barrier(named(id), threads, nullptr, false, false);
}

void sleep(const void* event, const char* what) {
  current().event = event;
  current().what = what;
  suspend(State::asleep);
}

void wake(const void* event) {
  for (Thread& thread : block.threads)
    if (thread.state == State::asleep && thread.event == event) thread.state = State::ready;
}

}  // namespace emulator
