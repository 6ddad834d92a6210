// Runs a grid on the CPU, one block after another, with a fiber for every thread of the block.
//
// Fibers change only where CUDA threads may wait for each other: at barriers, warp collectives and
// mbarriers. `seed` shuffles blocks, warps and lanes reproducibly; 0 keeps them in order. What a
// kernel does wrong stops its launch with an `Error` that names kernel, block and thread.
//
// Kernels that wait for another block in a loop hang; everything else that sm_80 code does between
// threads has a twin here.
#pragma once

#include <stdexcept>
#include <string>

#include "types.h"

namespace emulator {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Indices {
  uint3 thread, block;
  dim3 block_size, grid_size;
};

extern Indices indices;  // of the running thread

void seed(uint64_t value);
uint64_t random(uint64_t bound);  // 0 where the order is not shuffled
bool is_shuffled();

struct Launch {
  const char* kernel;
  dim3 grid, block;
  size_t shared_bytes;
};

using Body = void (*)(const void* closure);
void run(const Launch& launch, Body body, const void* closure, size_t closure_bytes);

template <class Function>
void run(const Launch& launch, const Function& function) {
  run(
      launch, [](const void* closure) { (*static_cast<const Function*>(closure))(); }, &function,
      sizeof function);
}

bool is_running();

// Stops the launch; never returns to the thread that calls it.
[[noreturn]] void fail(const std::string& message);
[[noreturn]] void fail(const char* message);  // for checked code, which may touch no heap

unsigned thread_rank();  // of the running thread in its block
unsigned lane();

// The dynamic shared memory of the block, aligned to 1024 bytes and filled with NaN at its start.
unsigned char* shared_memory();
size_t shared_bytes();

// The running thread waits until the lanes of `mask` have all come here with the same `perform`.
// The last one calls perform(operands of the lanes, null where not in mask; mask).
using Collective = void (*)(void* const operands[32], unsigned mask);
void collective(unsigned mask, Collective perform, void* operands);

// What the threads of a barrier contribute together.
struct Votes {
  unsigned count, threads;
};

// Waits at barrier `id` for `threads` threads. `site`: where in the source, if all threads must be
// at the same one.
Votes wait_at_barrier(unsigned id, unsigned threads, const char* site, bool vote);
void arrive_at_barrier(unsigned id, unsigned threads);

// The running thread sleeps until somebody wakes those who wait for `event`.
void sleep(const void* event, const char* what);
void wake(const void* event);

}  // namespace emulator

#define threadIdx (::emulator::indices.thread)
#define blockIdx (::emulator::indices.block)
#define blockDim (::emulator::indices.block_size)
#define gridDim (::emulator::indices.grid_size)
