// Fibers: functions that hand the processor to each other where they choose to.
#pragma once

#include <cstddef>
#include <vector>

namespace emulator {

// Stacks in one mapping, each with a guard page below it.
class Stacks {
 public:
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  ~Stacks();

  void reserve(size_t count);
  unsigned char* top(size_t i) const { return memory_ + (i + 1) * stride; }
  bool contains(const void* p) const {
    return memory_ <= p && p < static_cast<const void*>(memory_ + count_ * stride);
  }

 private:
  static constexpr size_t page = 4096, stride = 128 * 1024;
  unsigned char* memory_ = nullptr;
  size_t count_ = 0;
};

// A suspended flow of control is its stack pointer; everything else lies on the stack.
using Suspended = void*;

// The suspended flow that calls `entry` on a fresh stack. `entry` must never return.
Suspended fresh_fiber(unsigned char* stack_top, void (*entry)());

// Suspends the running flow into `from` and goes on with `to`.
extern "C" void emulator_switch(Suspended* from, Suspended to);

}  // namespace emulator
