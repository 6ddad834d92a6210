// Vectors of the level being compiled: SPCOLOR_VECTOR_BYTES wide, in GCC's and clang's own
// notation. Included inside namespace spcolor::<level>, under that level's target options. No
// standard library function is called here: its templates would be shared with other levels by the
// linker.
#pragma once

#define SPCOLOR_INLINE inline __attribute__((always_inline))

template <class T>
struct IntegerOf;
template <>
struct IntegerOf<float> {
  using type = int32_t;
};
template <>
struct IntegerOf<double> {
  using type = int64_t;
};

template <class T>
struct Simd {
  using Integer = typename IntegerOf<T>::type;
  typedef T Vector __attribute__((vector_size(SPCOLOR_VECTOR_BYTES)));
  typedef Integer Integers __attribute__((vector_size(SPCOLOR_VECTOR_BYTES)));
  static constexpr int lanes = SPCOLOR_VECTOR_BYTES / sizeof(T);
};
template <class T>
using Vector = typename Simd<T>::Vector;

template <class T>
SPCOLOR_INLINE Vector<T> load(const T* p) {
  Vector<T> v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

template <class T>
SPCOLOR_INLINE void store(T* p, Vector<T> v) {
  __builtin_memcpy(p, &v, sizeof(v));
}

template <class T>
SPCOLOR_INLINE Vector<T> splat(T x) {
  return x - Vector<T>{};  // x - 0 keeps the sign of zero, which x + 0 does not
}

// Lane l of the result is lane from[l] of a and b, one after the other.
template <class V, class I>
SPCOLOR_INLINE V shuffle(V a, V b, I from) {
#if defined(__clang__)
  constexpr int lanes = sizeof(V) / sizeof(a[0]);
  V result;
  for (int l = 0; l < lanes; ++l) result[l] = from[l] < lanes ? a[from[l]] : b[from[l] - lanes];
  return result;
#else
  return __builtin_shuffle(a, b, from);
#endif
}

// Lane l of the result is a[l], and where bit `step` of l is set, b[l - step].
template <int step, class V, class I>
SPCOLOR_INLINE V take_low(V a, V b, I from) {
  constexpr int lanes = sizeof(V) / sizeof(a[0]);
#pragma GCC unroll 16
  for (int l = 0; l < lanes; ++l) from[l] = l & step ? lanes + l - step : l;
  return shuffle(a, b, from);
}

// Lane l of the result is b[l], and where bit `step` of l is clear, a[l + step].
template <int step, class V, class I>
SPCOLOR_INLINE V take_high(V a, V b, I from) {
  constexpr int lanes = sizeof(V) / sizeof(a[0]);
#pragma GCC unroll 16
  for (int l = 0; l < lanes; ++l) from[l] = l & step ? lanes + l : l + step;
  return shuffle(a, b, from);
}

template <class T, int step = Simd<T>::lanes / 2>
SPCOLOR_INLINE T horizontal_sum(Vector<T> v) {
  if constexpr (step == 0) {
    return v[0];
  } else {
    return horizontal_sum<T, step / 2>(v + take_high<step>(v, v, typename Simd<T>::Integers{}));
  }
}

// Transposes a square of lanes x lanes elements, one butterfly a power of two.
template <class T, int step = Simd<T>::lanes / 2>
SPCOLOR_INLINE void transpose_square(Vector<T> (&rows)[Simd<T>::lanes]) {
  if constexpr (step > 0) {
#pragma GCC unroll 16
    for (int r = 0; r < Simd<T>::lanes; ++r)
      if (!(r & step)) {
        const Vector<T> a = rows[r], b = rows[r + step];
        rows[r] = take_low<step>(a, b, typename Simd<T>::Integers{});
        rows[r + step] = take_high<step>(a, b, typename Simd<T>::Integers{});
      }
    transpose_square<T, step / 2>(rows);
  }
}

SPCOLOR_INLINE float square_root(float x) { return __builtin_sqrtf(x); }
SPCOLOR_INLINE double square_root(double x) { return __builtin_sqrt(x); }

// One bit a lane: a > b.
#if SPCOLOR_VECTOR_BYTES == 64
SPCOLOR_INLINE uint32_t mask_greater(Vector<float> a, Vector<float> b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}
SPCOLOR_INLINE uint32_t mask_greater(Vector<double> a, Vector<double> b) {
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ);
}
#elif SPCOLOR_VECTOR_BYTES == 32
SPCOLOR_INLINE uint32_t mask_greater(Vector<float> a, Vector<float> b) {
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ));
}
SPCOLOR_INLINE uint32_t mask_greater(Vector<double> a, Vector<double> b) {
  return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_GT_OQ));
}
#else
template <class V>
SPCOLOR_INLINE uint32_t mask_greater(V a, V b) {
  uint32_t mask = 0;
  for (unsigned l = 0; l < sizeof(V) / sizeof(a[0]); ++l) mask |= uint32_t(a[l] > b[l]) << l;
  return mask;
}
#endif

template <class T>
SPCOLOR_INLINE Vector<T> larger(Vector<T> a, Vector<T> b) {
  return a > b ? a : b;
}

template <class T>
struct Exp2;
template <>
struct Exp2<float> {
  static constexpr int degree = 6, mantissa_bits = 23, bias = 127, least = -80;
};
template <>
struct Exp2<double> {
  static constexpr int degree = 13, mantissa_bits = 52, bias = 1023, least = -640;
};

// ln(2)^k / k!, the Taylor coefficients of 2^f.
template <int k>
constexpr long double exp2_coefficient =
    exp2_coefficient<k - 1> * 0.693147180559945309417232121458176568L / k;
template <>
constexpr long double exp2_coefficient<0> = 1;

// 2^f for |f| <= 1/2. The first omitted term is below two units in the last place.
template <class T, int k = 0>
SPCOLOR_INLINE Vector<T> exp2_series(Vector<T> f) {
  if constexpr (k == Exp2<T>::degree)
    return splat<T>(T(exp2_coefficient<k>));
  else
    return exp2_series<T, k + 1>(f) * f + T(exp2_coefficient<k>);
}

// 2^x for x <= bias, and 0 for x <= least: sums of weights far below 1 would otherwise be denormal
// numbers, which the processor is slow at.
template <class T>
SPCOLOR_INLINE Vector<T> exp2(Vector<T> x) {
  using Integer = typename Simd<T>::Integer;
  using Integers = typename Simd<T>::Integers;
  using E = Exp2<T>;
  // Adding 1.5 * 2^mantissa_bits leaves the rounded x in the low bits of the sum.
  constexpr T shifter = T(3) * T(int64_t(1) << (E::mantissa_bits - 1));
  x = x > T(E::least) ? x : splat<T>(-T(E::bias));  // 2^-bias has no bit of its own: 0
  const Vector<T> shifted = x + shifter;
  const Vector<T> f = x - (shifted - shifter);
  Integers bits;
  __builtin_memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + Integer(E::bias)) << E::mantissa_bits;  // the shifter's own bits are shifted out
  Vector<T> power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return exp2_series<T>(f) * power;
}
