// Host twins of csrc/cuda/prim.cuh.
#pragma once

#include "emulator.h"

namespace spcolor::prim {

inline void cp_async16(void* shared, const void* global, int source_bytes = 16) {
  emulator::copy_async(shared, global, 16, source_bytes);
}

inline void cp_async4(void* shared, const void* global, int source_bytes = 4) {
  emulator::copy_async(shared, global, 4, source_bytes);
}

inline void cp_async_commit() { emulator::commit_copies(); }

template <int groups_in_flight>
void cp_async_wait() {
  emulator::wait_for_copies(groups_in_flight);
}

inline void barrier_sync(unsigned id, unsigned threads) {
  emulator::wait_at_barrier(id, threads, nullptr, false);
}

inline void barrier_arrive(unsigned id, unsigned threads) {
  emulator::arrive_at_barrier(id, threads);
}

inline void ldmatrix_x4(unsigned (&fragment)[4], const void* row) {
  emulator::load_matrices(fragment, row, false);
}

inline void ldmatrix_x4_trans(unsigned (&fragment)[4], const void* row) {
  emulator::load_matrices(fragment, row, true);
}

template <class T>
void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                  const float (&c)[4]) {
  constexpr bool is_half = std::is_same_v<T, __half>;
  static_assert(is_half || std::is_same_v<T, __nv_bfloat16>);
  emulator::multiply_add(is_half ? emulator::Operand::float16 : emulator::Operand::bfloat16, d, a,
                         b, c);
}

inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                             const float (&c)[4]) {
  emulator::multiply_add(emulator::Operand::tf32, d, a, b, c);
}

inline unsigned to_tf32(float x) { return emulator::round_to_tf32(x); }

// Subnormal arguments and results are 0, like on the device.
inline float exp2(float x) {
  const float y = std::exp2(x);
  return std::fabs(y) < 0x1p-126f ? 0 : y;
}

inline float log2(float x) { return std::log2(std::fabs(x) < 0x1p-126f ? 0 : x); }

}  // namespace spcolor::prim
