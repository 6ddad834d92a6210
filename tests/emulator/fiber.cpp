#include "fiber.h"

#include <sys/mman.h>

#include <new>

#ifndef __x86_64__
#error "the emulator switches fibers on x86-64 only"
#endif

// The System V ABI lets a call change every register but these six and the stack pointer.
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, . - emulator_switch
)");

namespace emulator {

Stacks::~Stacks() {
  if (memory_) munmap(memory_, count_ * stride);
}

void Stacks::reserve(size_t count) {
  if (count <= count_) return;
  if (memory_) munmap(memory_, count_ * stride);
  void* memory = mmap(nullptr, count * stride, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<unsigned char*>(memory);
  count_ = count;
  for (size_t i = 0; i < count; ++i) mprotect(memory_ + i * stride, page, PROT_NONE);
}

Suspended fresh_fiber(unsigned char* stack_top, void (*entry)()) {
  constexpr int saved_registers = 6;
  void** sp = reinterpret_cast<void**>(stack_top);
  *--sp = nullptr;  // no return address: keeps the stack aligned as a call would
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < saved_registers; ++i) *--sp = nullptr;
  return sp;
}

}  // namespace emulator
