// Shared memory of the running block, and copies that run beside its threads.
#pragma once

#include <cstddef>
#include <string>

#include "block.h"

namespace emulator {

constexpr size_t most_shared_bytes = 227 * 1024;

void begin_memory_of_block(unsigned threads, size_t bytes);
bool shared_guards_are_intact();
bool has_copies_in_flight(unsigned thread);

// A pointer into dynamic shared memory as PTX writes it, and back.
uint32_t shared_address(const void* pointer);
unsigned char* shared_pointer(uint32_t address);

// cp.async: `bytes` to shared memory, of which all beyond `source_bytes` are zeros. Nothing arrives
// before the wait for its group, or by the luck of the shuffle already when it is issued.
void copy_async(void* shared, const void* global, size_t bytes, size_t source_bytes);
void commit_copies();
void wait_for_copies(size_t groups_in_flight);

}  // namespace emulator
