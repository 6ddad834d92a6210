// From features of any strides to rows in class order that the products read, and back again.
//
// Memory-bound passes: a warp for each row, with the channels across its lanes. Rows whose channels
// lie side by side are read once, in chunks, and stay in registers. Of others, such as those of
// channel-first maps, a block first brings a tile into shared memory along whichever dimension lies
// side by side, so that they are read in whole cache lines, too.
#pragma once

#include <cfloat>

#include "row_chunks.cuh"

namespace spcolor {

// What the products need a number rounded to, whatever type it is stored in.
enum class Rounding { none, tf32, bfloat16, float16 };

// One side of the problem: its features, and what is made of them.
template <class T>
struct Side {
  Source features;      // [B, N, C]
  bool in_chunks;       // whether their rows can be read so
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
  int mean_channels;  // of a block's slice
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
constexpr int warp_rows = block_rows / vector_warps;

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

// Channels of a block of mean_of_class: fewer where there are few classes (of all images and
// sides), so that there are blocks enough for the device.
inline int mean_slice(int channels, int64_t classes, bool in_chunks) {
  constexpr int enough_blocks = 512, most = 256;
  int slice = 32;  // a power of two
  while (in_chunks && slice < most && slice < channels &&
         ceil_div(channels, 2 * slice) * classes >= enough_blocks)
    slice *= 2;
  return slice;
}

// The slice of the block's class in one image, and what a thread reads of it.
template <class E>
struct MeanOfClass {
  using T = Sum<E>;
  const Source& source;
  const Positions& positions;
  int64_t image;
  Range range;
  int first_channel;
  T* mean;  // [C]

  __device__ const E* row(int rank) const {
    return static_cast<const E*>(source.data) + image * source.image_stride +
           positions.position(image, rank) * source.row_stride;
  }

  // Lanes walk the positions, which lie side by side; the warps have channels of their own.
  __device__ void add_positions(int channels) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int end =
        first_channel + channels < source.channels ? first_channel + channels : source.channels;
    for (int channel = first_channel + warp; channel < end; channel += vector_warps) {
      const T first = T(row(range.first)[channel * source.channel_stride]);
      T sum = 0;
      for (int rank = range.first + lane; rank < range.end; rank += 32)
        sum += T(row(rank)[channel * source.channel_stride]) - first;
      sum = warp_sum(sum);
      if (lane == 0) mean[channel] = first + sum / T(range.size());
    }
  }

  // Lanes have channels; the warps share the rows out.
  __device__ void add_rows() const {
    __shared__ T sums[vector_warps][33];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channel = first_channel + lane;
    const bool is_inside = channel < source.channels;
    const T first = is_inside ? T(row(range.first)[channel * source.channel_stride]) : T(0);
    T sum = 0;
    for (int rank = range.first + warp; is_inside && rank < range.end; rank += vector_warps)
      sum += T(row(rank)[channel * source.channel_stride]) - first;
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || !is_inside) return;
    for (int w = 1; w < vector_warps; ++w) sum += sums[w][lane];
    mean[channel] = first + sum / T(range.size());
  }

  // Threads have a chunk of channels; several rows are read at once, and a thread asks for the next
  // ones before it needs them.
  __device__ void add_chunks(int channels) const {
    constexpr int chunk = row_chunk<E>, ahead = 8, most_chunks = 256 / chunk;
    __shared__ T sums[vector_warps][most_chunks][chunk + 1];
    const int chunks = channels / chunk, own = int(threadIdx.x) % chunks;
    const int rows_at_once = vector_threads / chunks, channel = first_channel + own * chunk;
    const bool is_inside = channel < source.channels;
    T first[chunk] = {}, sum[chunk] = {};
    if (is_inside) load_chunk(row(range.first) + channel, first);
    for (int base = range.first + int(threadIdx.x) / chunks; is_inside && base < range.end;
         base += ahead * rows_at_once) {
      T x[ahead][chunk];
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        const int rank = base + i * rows_at_once;
        load_chunk(row(rank < range.end ? rank : range.first) + channel, x[i]);
      }
#pragma unroll
      for (int i = 0; i < ahead; ++i)
#pragma unroll
        for (int j = 0; j < chunk; ++j)
          sum[j] += base + i * rows_at_once < range.end ? x[i][j] - first[j] : T(0);
    }
#pragma unroll
    for (int j = 0; j < chunk; ++j)
      for (int step = 16; step >= chunks; step /= 2) sum[j] += __shfl_xor_sync(~0u, sum[j], step);
    // Of a row of more than 32 chunks each warp has a part; of shorter ones, each has all.
    const int thread = threadIdx.x, warp = thread / 32, parts = chunks > 32 ? chunks / 32 : 1;
    if (thread % 32 < chunks)
#pragma unroll
      for (int j = 0; j < chunk; ++j) sums[warp / parts][own][j] = sum[j];
    __syncthreads();
    if (thread >= chunks || !is_inside) return;
#pragma unroll
    for (int j = 0; j < chunk; ++j) {
      T total = 0;
      for (int w = 0; w < vector_warps / parts; ++w) total += sums[w][own][j];
      first[j] += total / T(range.size());
    }
    store_chunk(mean + channel, first);
  }
};

// means [B, K, C] = first + mean(x - first) over each class, so that equal rows leave exactly 0.
// Blocks: x: class, and slice of its channels; y: image.
template <class E>
__device__ void mean_of_class(const Source& source, bool in_chunks, int slice_channels,
                              const Positions& positions, Sum<E>* means) {
  const int segment = blockIdx.x % positions.classes;
  const int64_t image = blockIdx.y;
  const Range range = positions.range(image, segment);
  if (range.size() == 0) return;
  const MeanOfClass<E> work{source,
                            positions,
                            image,
                            range,
                            int(blockIdx.x) / positions.classes * slice_channels,
                            means + (image * positions.classes + segment) * source.channels};
  if (in_chunks)
    work.add_chunks(slice_channels);
  else if (source.row_stride < source.channel_stride)
    work.add_positions(slice_channels);
  else
    work.add_rows();
}

template <class E>
__global__ void __launch_bounds__(vector_threads, 2)
    class_means_kernel(UnitVectorsTask<Sum<E>> task) {
  const Side<Sum<E>>& side = task.side(blockIdx.z);
  mean_of_class<E>(side.features, side.in_chunks, task.mean_channels, side.positions, side.means);
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

// x rounded and stored in the type of the packed rows, from element `at` on.
template <class T, int count>
__device__ inline void store_packed(const UnitVectorsTask<T>& task, void* rows, int64_t at,
                                    T (&x)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) x[i] = rounded(x[i], task.rounding);
  switch (task.packed) {
    case Element::float64:
      return store_chunk(static_cast<double*>(rows) + at, x);
    case Element::float32:
      return store_chunk(static_cast<float*>(rows) + at, x);
    case Element::bfloat16:
      return store_chunk(static_cast<__nv_bfloat16*>(rows) + at, x);
    case Element::float16:
      return store_chunk(static_cast<__half*>(rows) + at, x);
  }
}

// Numbers of a row that a lane keeps, and so the channels of a row that a warp can keep.
constexpr int most_row_registers = 32, most_register_channels = 32 * most_row_registers;

template <class E>
__device__ void pack_rows_in_chunks(const UnitVectorsTask<Sum<E>>& task, const Side<Sum<E>>& side) {
  using T = Sum<E>;
  constexpr int chunk = row_chunk<E>, rounds = most_row_registers / chunk;
  const int lane = threadIdx.x % 32, C = side.features.channels;
  const int64_t image = blockIdx.y;
  const Positions& positions = side.positions;
  const int first = blockIdx.x * block_rows + threadIdx.x / 32 * warp_rows;
  if (first >= positions.length) return;
  int segment = positions.segment_of(image, first);
  for (int rank = first; rank < first + warp_rows && rank < positions.length; ++rank) {
    while (segment < positions.classes && positions.range(image, segment).end <= rank) ++segment;
    const bool center = task.center && segment < positions.classes;
    const E* from = static_cast<const E*>(side.features.data) + image * side.features.image_stride +
                    positions.position(image, rank) * side.features.row_stride;
    const T* mean = center ? side.means + (image * positions.classes + segment) * C : nullptr;
    T x[rounds][chunk] = {}, square = 0, square_with_mean = 0;
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      const int channel = (round * 32 + lane) * chunk;
      if (channel >= C) continue;
      load_chunk(from + channel, x[round]);
      T average[chunk] = {};
      if (center) load_chunk(mean + channel, average);
#pragma unroll
      for (int i = 0; i < chunk; ++i) {
        square_with_mean += x[round][i] * x[round][i];
        x[round][i] -= average[i];
        square += x[round][i] * x[round][i];
      }
    }
    const T scale = scale_of<E>(T(sqrt(warp_sum(square))), T(sqrt(warp_sum(square_with_mean))),
                                task.center, task.normalize);
    const int64_t row = image * positions.length + rank;
    if (lane == 0) side.scale[row] = scale;
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      const int channel = (round * 32 + lane) * chunk;
      if (channel >= task.padded_channels) continue;
#pragma unroll
      for (int i = 0; i < chunk; ++i)
        if (!task.raw) x[round][i] = scale == 0 || channel >= C ? T(0) : x[round][i] * scale;
      store_packed(task, side.rows, row * task.padded_channels + channel, x[round]);
    }
  }
}

template <class E>
__device__ void pack_rows(const UnitVectorsTask<Sum<E>>& task, const Side<Sum<E>>& side) {
  using T = Sum<E>;
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
  if (blockIdx.z == 2) return pack_values(task);
  const Side<Sum<E>>& side = task.side(blockIdx.z);
  if (side.in_chunks && task.padded_channels <= most_register_channels)
    pack_rows_in_chunks<E>(task, side);
  else
    pack_rows<E>(task, side);
}

template <class E>
void launch_unit_vectors(const UnitVectorsTask<Sum<E>>& task, cudaStream_t stream) {
  const Positions &query = task.query.positions, &key = task.key.positions;
  const unsigned images = task.images;
  if (task.center) {
    const int64_t slices = ceil_div(task.query.features.channels, task.mean_channels);
    SPCOLOR_LAUNCH(class_means_kernel<E>, dim3(unsigned(slices * query.classes), images, 2),
                   dim3(vector_threads), 0, stream, task);
  }
  const int64_t blocks =
      ceil_div(query.length > key.length ? query.length : key.length, block_rows);
  SPCOLOR_LAUNCH(unit_vectors_kernel<E>, dim3(unsigned(blocks), images, task.packed_value ? 3 : 2),
                 dim3(vector_threads), 0, stream, task);
}

}  // namespace spcolor
