// Rows whose channels lie side by side in memory, 16 bytes at a time.
#pragma once

#include "positions.cuh"

namespace spcolor {

// Type of sums: float64 for float64, else float32.
template <class E>
struct SumOf {
  using type = float;
};
template <>
struct SumOf<double> {
  using type = double;
};
template <class E>
using Sum = typename SumOf<E>::type;

constexpr int row_chunk_bytes = 16;

// Channels of a chunk.
template <class E>
constexpr int row_chunk = row_chunk_bytes / int(sizeof(E));

__host__ __device__ constexpr int bytes_of(Element element) {
  return element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
}

// Whether rows can be read in chunks: channels side by side, in whole aligned chunks.
inline bool has_chunks(const Source& source) {
  const int bytes = bytes_of(source.element), channels = row_chunk_bytes / bytes;
  return source.channel_stride == 1 && source.channels % channels == 0 &&
         source.row_stride % channels == 0 && source.image_stride % channels == 0 &&
         reinterpret_cast<uintptr_t>(source.data) % row_chunk_bytes == 0;
}

// Numbers of one access: 16 bytes of them, or all `count`.
template <class E, int count>
struct alignas((count < row_chunk<E> ? count : row_chunk<E>)*sizeof(E)) ChunkPart {
  static constexpr int size = count < row_chunk<E> ? count : row_chunk<E>;
  E x[size];
};

// x = from[0..count - 1]
template <class E, class T, int count>
__device__ inline void load_chunk(const E* from, T (&x)[count]) {
  using Part = ChunkPart<E, count>;
#pragma unroll
  for (int first = 0; first < count; first += Part::size) {
    const Part part = *reinterpret_cast<const Part*>(from + first);
#pragma unroll
    for (int i = 0; i < Part::size; ++i) x[first + i] = T(part.x[i]);
  }
}

// to[0..count - 1] = x
template <class E, class T, int count>
__device__ inline void store_chunk(E* to, const T (&x)[count]) {
  using Part = ChunkPart<E, count>;
#pragma unroll
  for (int first = 0; first < count; first += Part::size) {
    Part part;
#pragma unroll
    for (int i = 0; i < Part::size; ++i) part.x[i] = E(x[first + i]);
    *reinterpret_cast<Part*>(to + first) = part;
  }
}

}  // namespace spcolor
