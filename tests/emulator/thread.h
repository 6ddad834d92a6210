// CUDA's functions for threads: barriers, shuffles, votes, atomics and arithmetic.
#pragma once

#include "block.h"
#include "checks.h"

#define EMULATED_TEXT_(x) #x
#define EMULATED_TEXT(x) EMULATED_TEXT_(x)
#define EMULATED_BARRIER(vote)                                       \
  ::emulator::wait_at_barrier(0, blockDim.x* blockDim.y* blockDim.z, \
                              __FILE__ ":" EMULATED_TEXT(__LINE__), vote)

#define __syncthreads() static_cast<void>(EMULATED_BARRIER(false))
#define __syncthreads_count(predicate) static_cast<int>(EMULATED_BARRIER(predicate).count)
#define __syncthreads_or(predicate) static_cast<int>(EMULATED_BARRIER(predicate).count > 0)
#define __syncthreads_and(predicate) static_cast<int>(EMULATED_BARRIER(!(predicate)).count == 0)

namespace emulator {

template <class T>
struct Exchange {
  T value;
  unsigned source;  // lane whose value is wanted
  T result;

  static void perform(void* const operands[32], unsigned mask) {
    for (unsigned i = 0; i < 32; ++i) {
      if (!(mask >> i & 1)) continue;
      auto* lane = static_cast<Exchange*>(operands[i]);
      const auto* source = static_cast<const Exchange*>(operands[lane->source]);
      if (!source) fail("a shuffle from a lane that is not in its mask");
      lane->result = source->value;
    }
  }
};

template <class T>
T exchange(unsigned mask, T value, unsigned source) {
  Exchange<T> mine{value, source, {}};
  collective(mask, Exchange<T>::perform, &mine);
  return mine.result;
}

unsigned ballot(unsigned mask, bool vote);
unsigned match(unsigned mask, uint64_t value);

// Reads, applies and writes as one access; returns what was there.
template <class T, class Function>
T update(T* address, Function function) {
  begin_atomic(address, sizeof(T));
  const T old = *address;
  *address = function(old);
  end_atomic();
  return old;
}

}  // namespace emulator

void __syncwarp(unsigned mask = ~0u);
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned lane = emulator::lane();
  return emulator::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const unsigned lane = emulator::lane(), source = lane ^ bits;
  const bool is_own_group = source / width <= lane / width;
  return emulator::exchange(mask, value, is_own_group ? source : lane);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  const unsigned lane = emulator::lane();
  return emulator::exchange(mask, value, lane % width >= distance ? lane - distance : lane);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  const unsigned lane = emulator::lane();
  const bool is_inside = lane % width + distance < static_cast<unsigned>(width);
  return emulator::exchange(mask, value, is_inside ? lane + distance : lane);
}

inline unsigned __ballot_sync(unsigned mask, int vote) { return emulator::ballot(mask, vote); }
inline int __any_sync(unsigned mask, int vote) { return emulator::ballot(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return emulator::ballot(mask, !vote) == 0; }
inline unsigned __activemask() { return ~0u; }

template <class T>
unsigned __match_any_sync(unsigned mask, T value) {
  static_assert(std::is_integral_v<T>);
  return emulator::match(mask, static_cast<uint64_t>(value));
}

template <class T>
T __reduce_add_sync(unsigned mask, T value) {
  T sum = 0;
  for (int i = 0; i < 32; ++i)
    if (const T other = emulator::exchange(mask, value, mask >> i & 1 ? i : emulator::lane());
        mask >> i & 1)
      sum += other;
  return sum;
}

template <class T>
T __reduce_max_sync(unsigned mask, T value) {
  for (int i = 0; i < 32; ++i)
    value = std::max(value, emulator::exchange(mask, value, mask >> i & 1 ? i : emulator::lane()));
  return value;
}

template <class T>
T __reduce_min_sync(unsigned mask, T value) {
  for (int i = 0; i < 32; ++i)
    value = std::min(value, emulator::exchange(mask, value, mask >> i & 1 ? i : emulator::lane()));
  return value;
}

template <class T>
T atomicAdd(T* address, T value) {
  return emulator::update(address, [=](T old) { return static_cast<T>(old + value); });
}

template <class T>
T atomicMax(T* address, T value) {
  return emulator::update(address, [=](T old) { return std::max(old, value); });
}

template <class T>
T atomicMin(T* address, T value) {
  return emulator::update(address, [=](T old) { return std::min(old, value); });
}

template <class T>
T atomicOr(T* address, T value) {
  return emulator::update(address, [=](T old) { return old | value; });
}

template <class T>
T atomicExch(T* address, T value) {
  return emulator::update(address, [=](T) { return value; });
}

template <class T>
T atomicCAS(T* address, T expected, T value) {
  return emulator::update(address, [=](T old) { return old == expected ? value : old; });
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}

template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __float_as_int(float x) { return emulated_bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return emulated_bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return emulated_bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return emulated_bit_cast<float>(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
