// Host twins of csrc/cuda/prim_hopper.cuh.
#pragma once

#include "bulk.h"
#include "prim.h"
#include "wgmma.h"

namespace spcolor::prim {

using emulator::TensorMap;

inline TensorMap make_tensor_map(const void* data, uint64_t row_bytes, uint64_t rows,
                                 uint32_t box_rows) {
  if (reinterpret_cast<uintptr_t>(data) % 16 || row_bytes % 16 || box_rows > 256)
    throw emulator::Error("make_tensor_map: unaligned rows, or a box of more than 256");
  return {static_cast<const unsigned char*>(data), row_bytes, rows, box_rows};
}

using Mbarrier = uint64_t;

inline void mbarrier_init(Mbarrier* barrier, unsigned arrivals) {
  emulator::initialise_mbarrier(barrier, arrivals);
}
inline void mbarrier_init_fence() {}
inline void mbarrier_arrive(Mbarrier* barrier) { emulator::arrive_at_mbarrier(barrier, 0); }
inline void mbarrier_arrive_expect(Mbarrier* barrier, unsigned bytes) {
  emulator::arrive_at_mbarrier(barrier, bytes);
}
inline void mbarrier_wait(Mbarrier* barrier, unsigned parity) {
  emulator::wait_for_mbarrier(barrier, parity);
}

inline void tma_load(void* shared, const TensorMap& map, Mbarrier* barrier, int x, int y) {
  emulator::load_box(shared, map, barrier, x, y);
}

inline void fence_proxy_async() { emulator::fence_proxy(); }

inline uint64_t matrix_descriptor(const void* rows) {
  return emulator::shared_address(rows) >> 4 | uint64_t(1) << 16 | uint64_t(1024 >> 4) << 32 |
         uint64_t(1) << 62;
}

inline void wgmma_fence() { emulator::fence_registers(); }
inline void wgmma_commit() { emulator::commit_products(); }

template <int groups_in_flight>
void wgmma_wait() {
  emulator::wait_for_products(groups_in_flight);
}

struct Tf32;

template <class T>
void wgmma_m64n128(float (&d)[16][4], uint64_t a, uint64_t b, bool accumulate) {
  constexpr auto type = std::is_same_v<T, __half>          ? emulator::Operand::float16
                        : std::is_same_v<T, __nv_bfloat16> ? emulator::Operand::bfloat16
                                                           : emulator::Operand::tf32;
  emulator::issue_product(type, d, a, b, accumulate);
}

inline void keep_in_registers(float (&)[16][4]) {}

template <int count>
void give_registers_back() {}

template <int count>
void take_registers() {}

}  // namespace spcolor::prim
