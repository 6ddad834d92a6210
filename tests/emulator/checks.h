// What the memory accesses of a launch must obey, in checked builds: a kernel touches only memory
// lent to it and its block's shared memory, nothing reads what an asynchronous copy still writes,
// and of two accesses to one place of which one writes, a barrier separates the two.
//
// Checked builds compile kernels with -fsanitize=thread, whose calls for every load and store come
// here instead of to its own library. Each thread keeps a vector clock: what it knows of every
// other thread's progress, from the barriers that they shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#ifndef EMULATOR_CHECKED
#define EMULATOR_CHECKED 0
#endif

namespace emulator {

class Stacks;

constexpr bool checked = EMULATOR_CHECKED;

// Global memory that launches may touch from now on, and none of it any more.
void lend(const void* memory, size_t bytes);
void take_back();

void begin_launch(const Stacks& stacks, const void* closure, size_t closure_bytes);
void begin_checks_of_block(unsigned threads);

// What happened before any of `released` came here has happened for all of `acquired`.
void order_threads(const std::vector<unsigned>& released, const std::vector<unsigned>& acquired);

// Accesses by the running thread, or by a lane of its warp.
void record_read(const void* address, size_t bytes);
void record_read(const void* address, size_t bytes, unsigned lane);
void record_write(const void* address, size_t bytes);

// A write that begins now and ends with its arrival: of cp.async, or by the asynchronous proxy.
void record_copy(const void* address, size_t bytes);
void record_bulk_copy(const void* address, size_t bytes);
void record_arrival(const void* address, size_t bytes);

// A read by the asynchronous proxy, on behalf of a lane: it sees what other instructions wrote only
// after a fence by their thread.
void record_proxy_read(const void* address, size_t bytes, unsigned lane);
void fence_proxy();

// What is known of each thread's progress; how mbarriers carry it from thread to thread.
using Knowledge = std::vector<uint32_t>;
void release(Knowledge& knowledge);
void acquire(const Knowledge& knowledge);
uint32_t clock_of_running_thread();
void add_progress(Knowledge& knowledge, unsigned thread, uint32_t clock);

// Between the two, what the running thread reads and writes is one atomic access.
void begin_atomic(const void* address, size_t bytes);
void end_atomic();

}  // namespace emulator
