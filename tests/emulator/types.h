// CUDA's keywords, vector types and 16-bit floats for a host compiler.
#pragma once

#include <math.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using cudaStream_t = void*;

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

template <class T, size_t alignment>
struct alignas(alignment) EmulatedVector2 {
  T x, y;
};

template <class T, size_t alignment>
struct alignas(alignment) EmulatedVector4 {
  T x, y, z, w;
};

#define EMULATED_VECTORS(T, name)                                          \
  using name##2 = EmulatedVector2<T, 2 * sizeof(T)>;                       \
  using name##4 = EmulatedVector4<T, std::min<size_t>(4 * sizeof(T), 16)>; \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }            \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATED_VECTORS(float, float)
EMULATED_VECTORS(double, double)
EMULATED_VECTORS(int, int)
EMULATED_VECTORS(unsigned, uint)
EMULATED_VECTORS(short, short)
EMULATED_VECTORS(unsigned short, ushort)
#undef EMULATED_VECTORS

template <class To, class From>
To emulated_bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

struct alignas(2) __half {
  uint16_t bits;

  __half() = default;
  __half(float x) : bits(emulated_bit_cast<uint16_t>(static_cast<_Float16>(x))) {}
  operator float() const { return emulated_bit_cast<_Float16>(bits); }
};

struct alignas(2) __nv_bfloat16 {
  uint16_t bits;

  __nv_bfloat16() = default;
  __nv_bfloat16(float x) {
    const uint32_t u = emulated_bit_cast<uint32_t>(x);
    const uint32_t half_to_even = 0x7fff + (u >> 16 & 1);
    bits = x != x ? 0x7fff : static_cast<uint16_t>((u + half_to_even) >> 16);
  }
  operator float() const { return emulated_bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

struct alignas(4) __half2 {
  __half x, y;
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
