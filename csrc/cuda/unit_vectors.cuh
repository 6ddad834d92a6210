// From features of any strides to rows in class order that the products read, and back again.
//
// Memory-bound passes: a warp for each row, with the channels across its lanes. A block first
// brings its rows into shared memory along whichever dimension lies side by side in memory, so that
// channel-first maps are read in whole cache lines as token-major ones are.
#pragma once

#include <cfloat>

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

// What the products need a number rounded to, whatever type it is stored in.
enum class Rounding { none, tf32, bfloat16, float16 };

__host__ __device__ constexpr int bytes_of(Element element) {
  return element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
}

// One side of the problem: its features, and what is made of them.
template <class T>
struct Side {
  Source features;      // [B, N, C]
  Positions positions;  // of N
  T* means;             // [B, K, C], where centred
  void* rows;           // [B, N, Cp] in class order
  T* scale;             // [B, N] in class order: 1 / norm, 0 by the zero rule, NaN if not finite
};

template <class T>
struct UnitVectorsTask {
  Side<T> query, key;
  Source value;     // [B, M, D]; its channels are values
  T* packed_value;  // [B, M, Dp] in key order; null: there are no values
  int images, padded_channels, padded_values;
  bool center, normalize;
  bool raw;  // rows keep x itself: `scale` is applied to the products instead
  Element packed;
  Rounding rounding;
  int* counters;  // [counter_count], set to 0 for the kernel that follows
  int counter_count;

  __device__ const Side<T>& side(int z) const { return z == 0 ? query : key; }
};

constexpr double absolute_zero = 1e-12;

// ||x - mean|| / ||x|| at or below which a centred vector is rounding noise.
template <class E>
__device__ inline Sum<E> relative_zero() {
  constexpr double of_float32 = 1e-6;
  if constexpr (std::is_same_v<E, double>) return of_float32 * (DBL_EPSILON / FLT_EPSILON);
  if constexpr (std::is_same_v<E, __nv_bfloat16>) return float(of_float32 * 0x1p16);
  if constexpr (std::is_same_v<E, __half>) return float(of_float32 * 0x1p13);
  return of_float32;
}

template <class T>
__device__ inline T warp_sum(T x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

template <class T>
__device__ inline bool is_finite(T x) {
  return x - x == 0;
}

// x rounded, in its own type. Of float64 nothing is ever rounded.
__device__ inline double rounded(double x, Rounding) { return x; }
__device__ inline float rounded(float x, Rounding rounding) {
  switch (rounding) {
    case Rounding::tf32:
      return tf32(x);
    case Rounding::bfloat16:
      return float(__nv_bfloat16(x));
    case Rounding::float16:
      return float(__half(x));
    default:
      return x;
  }
}

template <class T>
__device__ inline void store(void* data, Element element, int64_t at, T x) {
  switch (element) {
    case Element::float64:
      static_cast<double*>(data)[at] = x;
      break;
    case Element::float32:
      static_cast<float*>(data)[at] = float(x);
      break;
    case Element::bfloat16:
      static_cast<__nv_bfloat16*>(data)[at] = __nv_bfloat16(float(x));
      break;
    case Element::float16:
      static_cast<__half*>(data)[at] = __half(float(x));
      break;
  }
}

template <class T>
__device__ inline T load_as(const void* data, Element element, int64_t at) {
  switch (element) {
    case Element::float64:
      return T(static_cast<const double*>(data)[at]);
    case Element::float32:
      return T(static_cast<const float*>(data)[at]);
    case Element::bfloat16:
      return T(float(static_cast<const __nv_bfloat16*>(data)[at]));
    default:
      return T(float(static_cast<const __half*>(data)[at]));
  }
}

constexpr int vector_threads = 256, vector_warps = vector_threads / 32;
constexpr int block_rows = 32, block_channels = 64;

// Rows of a block: where each begins in memory, and its class.
struct BlockRows {
  int64_t offset[block_rows];
  int segment[block_rows];

  __device__ void find(const Source& source, const Positions& positions, int64_t image, int first) {
    const int rank = first + threadIdx.x;
    if (threadIdx.x < block_rows && rank < positions.length) {
      segment[threadIdx.x] = positions.segment_of(image, rank);
      offset[threadIdx.x] =
          image * source.image_stride + positions.position(image, rank) * source.row_stride;
    }
    __syncthreads();
  }
};

// tile [block_rows, block_channels] = channels first_channel.. of the block's first `count` rows.
template <class E>
__device__ void stage(const Source& source, const BlockRows& rows, int count, int first_channel,
                      Sum<E> (&tile)[block_rows][block_channels + 1]) {
  const bool positions_adjoin = source.row_stride < source.channel_stride;
  const E* data = static_cast<const E*>(source.data);
  for (int e = threadIdx.x; e < block_rows * block_channels; e += vector_threads) {
    const int row = positions_adjoin ? e % block_rows : e / block_channels;
    const int channel = positions_adjoin ? e / block_rows : e % block_channels;
    const int from = first_channel + channel;
    tile[row][channel] = row < count && from < source.channels
                             ? Sum<E>(data[rows.offset[row] + from * source.channel_stride])
                             : Sum<E>(0);
  }
  __syncthreads();
}

// means [B, K, C] = first + mean(x - first) over each class, so that equal rows leave exactly 0.
// Blocks: 32 channels of one class of one image.
template <class E>
__device__ void mean_of_class(const Source& source, const Positions& positions, Sum<E>* means) {
  using T = Sum<E>;
  __shared__ T sums[vector_warps][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int segment = blockIdx.x % positions.classes, slice = blockIdx.x / positions.classes * 32;
  const int64_t image = blockIdx.y;
  const Range range = positions.range(image, segment);
  if (range.size() == 0) return;
  const auto feature = [&](int rank, int channel) {
    return T(
        static_cast<const E*>(source.data)[image * source.image_stride +
                                           positions.position(image, rank) * source.row_stride +
                                           channel * source.channel_stride]);
  };
  T* mean = means + (image * positions.classes + segment) * source.channels;

  if (source.row_stride < source.channel_stride) {  // positions side by side: lanes walk them
    for (int channel = slice + warp; channel < slice + 32 && channel < source.channels;
         channel += vector_warps) {
      const T first = feature(range.first, channel);
      T sum = 0;
      for (int rank = range.first + lane; rank < range.end; rank += 32)
        sum += feature(rank, channel) - first;
      sum = warp_sum(sum);
      if (lane == 0) mean[channel] = first + sum / T(range.size());
    }
    return;
  }
  const int channel = slice + lane;
  const bool is_inside = channel < source.channels;
  const T first = is_inside ? feature(range.first, channel) : T(0);
  T sum = 0;
  for (int rank = range.first + warp; is_inside && rank < range.end; rank += vector_warps)
    sum += feature(rank, channel) - first;
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || !is_inside) return;
  for (int w = 1; w < vector_warps; ++w) sum += sums[w][lane];
  mean[channel] = first + sum / T(range.size());
}

template <class E>
__global__ void __launch_bounds__(vector_threads) class_means_kernel(UnitVectorsTask<Sum<E>> task) {
  const Side<Sum<E>>& side = task.side(blockIdx.z);
  mean_of_class<E>(side.features, side.positions, side.means);
}

// The factor that makes a unit vector of x - mean; see SumOf for T.
template <class E, class T>
__device__ inline T scale_of(T norm, T norm_with_mean, bool center, bool normalize) {
  if (!is_finite(norm)) return norm - norm;  // NaN
  if (!normalize) return 1;
  const bool is_zero =
      norm < T(absolute_zero) || (center && norm <= relative_zero<E>() * norm_with_mean);
  return is_zero ? T(0) : 1 / norm;
}

template <class E>
__device__ void pack_rows(const UnitVectorsTask<Sum<E>>& task, const Side<Sum<E>>& side) {
  using T = Sum<E>;
  constexpr int warp_rows = block_rows / vector_warps;
  __shared__ BlockRows rows;
  __shared__ T tile[block_rows][block_channels + 1];
  const int lane = threadIdx.x % 32, first_row = threadIdx.x / 32 * warp_rows;
  const int64_t image = blockIdx.y;
  const int first = blockIdx.x * block_rows, C = side.features.channels;
  const int left = side.positions.length - first, count = left < block_rows ? left : block_rows;
  if (count <= 0) return;
  rows.find(side.features, side.positions, image, first);

  // Channel `channel` of row `row`, less its class's mean. Rows of no class are not centred.
  const auto centred = [&](int row, int column, int channel) {
    const T x = tile[row][column];
    if (!task.center || channel >= C || rows.segment[row] == side.positions.classes) return x;
    return x - side.means[(image * side.positions.classes + rows.segment[row]) * C + channel];
  };

  T squares[warp_rows] = {}, squares_with_mean[warp_rows] = {}, scale[warp_rows];
  for (int base = 0; base < C; base += block_channels) {
    if (base > 0) __syncthreads();
    stage<E>(side.features, rows, count, base, tile);
#pragma unroll
    for (int r = 0; r < warp_rows; ++r)
      for (int column = lane; column < block_channels && first_row + r < count; column += 32) {
        const T with_mean = tile[first_row + r][column];
        const T x = centred(first_row + r, column, base + column);
        squares[r] += x * x;
        squares_with_mean[r] += with_mean * with_mean;
      }
  }
#pragma unroll
  for (int r = 0; r < warp_rows; ++r) {
    scale[r] = scale_of<E>(T(sqrt(warp_sum(squares[r]))), T(sqrt(warp_sum(squares_with_mean[r]))),
                           task.center, task.normalize);
    if (lane == 0 && first_row + r < count)
      side.scale[image * side.positions.length + first + first_row + r] = scale[r];
  }

  for (int base = 0; base < task.padded_channels; base += block_channels) {
    if (C > block_channels) {  // else the only tile is still there
      __syncthreads();
      stage<E>(side.features, rows, count, base, tile);
    }
#pragma unroll
    for (int r = 0; r < warp_rows; ++r)
      for (int column = lane; column < block_channels; column += 32) {
        const int row = first_row + r, channel = base + column;
        if (row >= count || channel >= task.padded_channels) continue;
        T x = centred(row, column, channel);
        if (!task.raw && channel < C) x = scale[r] == 0 ? T(0) : x * scale[r];
        const int64_t to = (image * side.positions.length + first + row) * task.padded_channels;
        store(side.rows, task.packed, to + channel, rounded(x, task.rounding));
      }
  }
}

template <class T>
__device__ void pack_values(const UnitVectorsTask<T>& task) {
  const Positions& positions = task.key.positions;
  const int64_t image = blockIdx.y;
  const int first = blockIdx.x * block_rows;
  for (int e = threadIdx.x; e < block_rows * task.padded_values; e += vector_threads) {
    const int rank = first + e / task.padded_values, d = e % task.padded_values;
    if (rank >= positions.length) return;
    const int64_t from = image * task.value.image_stride +
                         positions.position(image, rank) * task.value.row_stride +
                         d * task.value.channel_stride;
    task.packed_value[(image * positions.length + rank) * task.padded_values + d] =
        d < task.value.channels ? load_as<T>(task.value.data, task.value.element, from) : T(0);
  }
}

// Blocks: 32 positions of one image; z: queries, keys, values.
template <class E>
__global__ void __launch_bounds__(vector_threads)
    unit_vectors_kernel(UnitVectorsTask<Sum<E>> task) {
  if (blockIdx.z == 0 && blockIdx.y == 0)
    for (int i = blockIdx.x * vector_threads + threadIdx.x; i < task.counter_count;
         i += gridDim.x * vector_threads)
      task.counters[i] = 0;
  if (blockIdx.z < 2)
    pack_rows<E>(task, task.side(blockIdx.z));
  else
    pack_values(task);
}

template <class E>
void launch_unit_vectors(const UnitVectorsTask<Sum<E>>& task, cudaStream_t stream) {
  const Positions &query = task.query.positions, &key = task.key.positions;
  const unsigned images = task.images;
  if (task.center) {
    const int64_t slices = ceil_div(task.query.features.channels, 32);
    SPCOLOR_LAUNCH(class_means_kernel<E>, dim3(unsigned(slices * query.classes), images, 2),
                   dim3(vector_threads), 0, stream, task);
  }
  const int64_t blocks =
      ceil_div(query.length > key.length ? query.length : key.length, block_rows);
  SPCOLOR_LAUNCH(unit_vectors_kernel<E>, dim3(unsigned(blocks), images, task.packed_value ? 3 : 2),
                 dim3(vector_threads), 0, stream, task);
}

}  // namespace spcolor
