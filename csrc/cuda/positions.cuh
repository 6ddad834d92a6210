// Where features lie in memory, and in which order a kernel walks their positions.
// Sizes: B images, N target and M reference positions, C channels, D values, K classes.
#pragma once

#include <cstdint>

#include "prim.cuh"

namespace spcolor {

enum class Element { float32, float64, bfloat16, float16 };

// A tensor [B, N, C] of any strides, in elements.
struct Source {
  const void* data;
  Element element;
  int64_t image_stride, row_stride, channel_stride;
  int channels;
};

// Ranks first..end of one class of one image.
struct Range {
  int first, end;

  __device__ int size() const { return end - first; }
};

__device__ inline int clamp(int x, int least, int most) {
  return x < least ? least : x > most ? most : x;
}

// The positions of one side in class order. Offsets and order come from the caller's device memory
// and are never trusted: whatever they hold, nothing is read or written out of bounds.
struct Positions {
  int length;              // N, of each image
  int classes;             // K; class K stands for "no class"
  const int32_t* order;    // [B, N] position of each rank; null: the rank itself
  const int32_t* offsets;  // [B, K + 1] first rank of each class

  __device__ int offset(int64_t image, int segment) const {
    return clamp(offsets[image * (classes + 1) + segment], 0, length);
  }

  __device__ Range range(int64_t image, int segment) const {
    const int first = offset(image, segment);
    if (segment == classes) return {first, length};
    const int end = offset(image, segment + 1);
    return {first, end < first ? first : end};
  }

  __device__ int position(int64_t image, int rank) const {
    return order ? clamp(order[image * length + rank], 0, length - 1) : rank;
  }

  // The class whose range holds the rank.
  __device__ int segment_of(int64_t image, int rank) const {
    int low = 0, high = classes;  // the first of the classes low..high that ends after the rank
    while (low < high) {
      const int middle = (low + high) / 2;
      if (offset(image, middle + 1) <= rank)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

// Arithmetic of both types of sums.
__device__ inline float power_of_two(float x) { return prim::exp2(x); }
__device__ inline double power_of_two(double x) { return exp2(x); }
__device__ inline float tf32(float x) { return __uint_as_float(prim::to_tf32(x)); }

// At most `tile_rows` rows of one class. segment == -1: there is no such tile.
struct Tile {
  int segment, first, rows;
};

__host__ __device__ constexpr int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Tiles of one image at most, whatever its labels: each class ends with at most one partial tile.
inline int most_tiles(const Positions& positions, int tile_rows) {
  return int(ceil_div(positions.length, tile_rows)) + positions.classes + 1;
}

// Tile `number` of an image's tiles, class after class. Every warp searches for itself, a lane for
// each class.
__device__ inline Tile find_tile(const Positions& positions, int64_t image, int number,
                                 int tile_rows) {
  const int lane = threadIdx.x % 32;
  for (int base = 0; base <= positions.classes; base += 32) {
    const int segment = base + lane;
    Range range{0, 0};
    if (segment <= positions.classes) range = positions.range(image, segment);
    const int tiles = (range.size() + tile_rows - 1) / tile_rows;
    int sum = tiles;  // of the lanes up to this one
    for (int step = 1; step < 32; step *= 2) {
      const int below = __shfl_up_sync(~0u, sum, step);
      if (lane >= step) sum += below;
    }
    const unsigned reached = __ballot_sync(~0u, sum > number);
    if (reached) {
      const int owner = __ffs(reached) - 1;
      const int tile = number - __shfl_sync(~0u, sum - tiles, owner);
      const int first = __shfl_sync(~0u, range.first, owner) + tile * tile_rows;
      const int left = __shfl_sync(~0u, range.end, owner) - first;
      return {base + owner, first, left < tile_rows ? left : tile_rows};
    }
    number -= __shfl_sync(~0u, sum, 31);
  }
  return {-1, 0, 0};
}

// Hands out parts of one allocation, or only adds up their sizes.
class Workspace {
 public:
  Workspace() : memory_(nullptr), is_measuring_(true) {}
  explicit Workspace(void* memory)
      : memory_(static_cast<unsigned char*>(memory)), is_measuring_(false) {}

  template <class T>
  T* take(int64_t count) {
    unsigned char* part = memory_ + bytes_;
    bytes_ += ceil_div(count * int64_t(sizeof(T)), alignment) * alignment;
    return reinterpret_cast<T*>(part);
  }

  int64_t bytes() const { return bytes_; }
  bool is_measuring() const { return is_measuring_; }

 private:
  static constexpr int64_t alignment = 256;
  unsigned char* memory_;
  int64_t bytes_ = 0;
  bool is_measuring_;
};

}  // namespace spcolor
