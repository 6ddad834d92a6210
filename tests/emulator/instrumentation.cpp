// The functions that gcc's -fsanitize=thread calls around loads and stores, in place of its
// library.
#include "block.h"
#include "checks.h"

#define EXPORT extern "C" __attribute__((visibility("hidden")))

#define ACCESSES(bytes)                                                                       \
  EXPORT void __tsan_read##bytes(void* p) { emulator::on_read(p, bytes); }                    \
  EXPORT void __tsan_write##bytes(void* p) { emulator::on_write(p, bytes); }                  \
  EXPORT void __tsan_unaligned_read##bytes(void* p) { emulator::on_read(p, bytes); }          \
  EXPORT void __tsan_unaligned_write##bytes(void* p) { emulator::on_write(p, bytes); }        \
  EXPORT void __tsan_volatile_read##bytes(void* p) { emulator::on_read(p, bytes); }           \
  EXPORT void __tsan_volatile_write##bytes(void* p) { emulator::on_write(p, bytes); }         \
  EXPORT void __tsan_unaligned_volatile_read##bytes(void* p) { emulator::on_read(p, bytes); } \
  EXPORT void __tsan_unaligned_volatile_write##bytes(void* p) { emulator::on_write(p, bytes); }

namespace emulator {
namespace {

void on_read(const void* p, size_t bytes) {
  if (is_running()) record_read(p, bytes);
}

void on_write(const void* p, size_t bytes) {
  if (is_running()) record_write(p, bytes);
}

}  // namespace
}  // namespace emulator

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

EXPORT void __tsan_init() {}
EXPORT void __tsan_func_entry(void*) {}
EXPORT void __tsan_func_exit() {}
EXPORT void __tsan_vptr_update(void**, void*) {}
EXPORT void __tsan_vptr_read(void**) {}
EXPORT void __tsan_read_range(void* p, size_t bytes) { emulator::on_read(p, bytes); }
EXPORT void __tsan_write_range(void* p, size_t bytes) { emulator::on_write(p, bytes); }

// Host code around the kernels counts references.
#define ATOMICS(bits, T)                                              \
  EXPORT T __tsan_atomic##bits##_load(const volatile T* p, int) {     \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                      \
  }                                                                   \
  EXPORT void __tsan_atomic##bits##_store(volatile T* p, T x, int) {  \
    __atomic_store_n(p, x, __ATOMIC_SEQ_CST);                         \
  }                                                                   \
  EXPORT T __tsan_atomic##bits##_fetch_add(volatile T* p, T x, int) { \
    return __atomic_fetch_add(p, x, __ATOMIC_SEQ_CST);                \
  }                                                                   \
  EXPORT T __tsan_atomic##bits##_fetch_sub(volatile T* p, T x, int) { \
    return __atomic_fetch_sub(p, x, __ATOMIC_SEQ_CST);                \
  }

ATOMICS(8, uint8_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
