// The gradient kernel: for a tile of one side's rows, what all rows of the other side send them.
//
// Scores are recomputed tile by tile and turned into their own gradients in registers, which are
// then the left operand of a second product, with the other side's rows:
//
//     ds_ij = p_ij (g_warped_i . v_j + g_lse_i - g_warped_i . y_i) / temperature
//             + [j = index_i] g_similarity_i,     p_ij = exp((s_ij - max_i) / temperature -
//             log_mass_i)
//     dq^_i = sum_j ds_ij k^_j        own side: queries
//     dk^_j = sum_i ds_ij q^_i        own side: keys
//     dv_j  = sum_i p_ij g_warped_i   own side: keys
//
// Nothing is added from two blocks into one place, so the result is the same in every run.
#pragma once

#include "correspondence_rows.cuh"
#include "slice_stream.cuh"
#include "unit_vectors.cuh"

namespace spcolor {

// What the backward needs of one query row, in class order.
template <class T>
struct RowGradient {
  T maximum, log2_mass;
  T offset;      // g_lse - g_warped . warped
  T similarity;  // g_similarity
};

template <class T>
struct GradientTask {
  PackedSide<T> query, key;
  int images, packed_channels;  // B, Cp
  T* grad;                      // [B, own positions, Cp] in class order; null: not wanted
  int channel_blocks;           // of most_again slices each; the blocks after them have values

  // Of the softmax and its maximum.
  const RowGradient<T>* rows;  // [B, N]
  const int32_t* index;        // [B, N] position of the maximum's key
  const T* grad_warped;        // [B, N, Dp]; null: none
  const T* value;              // [B, M, Dp] in key order
  int values, padded_values;
  bool has_softmax;
  Temperature<T> temperature;
  void* grad_value;  // [B, M, D] at their positions
  Element value_element;
  T* temperature_sums;  // [B, N] sum over j of (softmax part of ds_ij) s_ij; null: not wanted

  // Of cosine blocks: the gradients of scores themselves.
  const T* grad_scores;          // [total]
  const int64_t* block_offsets;  // [B * K + 1]
  int64_t total;
};

constexpr int gradient_threads = 128, own_rows = 64, other_rows = 64;

// Slices of the second product whose sums the registers hold.
template <class T>
constexpr int most_again = 32 / int(sizeof(T));

constexpr int value_block = 4;  // values that a block computes the gradients of
using GradientStream = SliceStream<own_rows, other_rows, gradient_threads>;

// What a thread sums up over the pairs of its two rows. In shared memory: the registers are full of
// the second product's sums.
template <class T>
struct PairSums {
  T temperature[2];
  T grad_value[2][value_block];
};

// Shared memory of a block beside its stream: each warp's weights and each thread's sums.
template <class T>
constexpr int weight_bytes = gradient_threads / 32 * Weights<T>::bytes(other_rows / 8);
template <class T>
constexpr int pair_bytes = weight_bytes<T> + gradient_threads * int(sizeof(PairSums<T>));

// What a pair needs of its query beside the score and values.
template <class T>
struct QueryTerms {
  int rank, index;
  RowGradient<T> row;

  __device__ QueryTerms(const GradientTask<T>& task, int64_t image, int rank) : rank(rank) {
    const int64_t at = image * task.query.positions.length + rank;
    index = task.index[at];
    row = task.rows[at];
  }

  // Gradients of warped, or null.
  __device__ const T* values(const GradientTask<T>& task, int64_t image) const {
    const int64_t at = image * task.query.positions.length + rank;
    return task.grad_warped ? task.grad_warped + at * task.padded_values : nullptr;
  }
};

template <class T>
struct KeyTerms {
  int rank, position;

  __device__ KeyTerms(const GradientTask<T>& task, int64_t image, int rank)
      : rank(rank), position(task.key.positions.position(image, rank)) {}

  // Values, or null where no gradient of warped is there to need them.
  __device__ const T* values(const GradientTask<T>& task, int64_t image) const {
    const int64_t at = image * task.key.positions.length + rank;
    return task.grad_warped ? task.value + at * task.padded_values : nullptr;
  }
};

// The first values of a row: of more, the others are loaded at every use.
template <class T>
struct FirstValues {
  static constexpr int count = 4;
  static_assert(count == value_block);
  T x[count] = {};

  __device__ explicit FirstValues(const T* from) {
    struct alignas(chunk_bytes) Chunk {
      T x[count];
    };
    if (!from) return;
    const Chunk chunk = *reinterpret_cast<const Chunk*>(from);
#pragma unroll
    for (int d = 0; d < count; ++d) x[d] = chunk.x[d];
  }
};

// A warp's rows of scores become their gradients; what else is summed up on the way.
template <class Product, bool own_is_query>
struct WeightedPairs {
  using T = typename Product::Sum;
  using OwnTerms = std::conditional_t<own_is_query, QueryTerms<T>, KeyTerms<T>>;
  using OtherTerms = std::conditional_t<own_is_query, KeyTerms<T>, QueryTerms<T>>;

  const GradientTask<T>& task;
  int64_t image;
  int tile_first, first_own;  // ranks of the tile's and this warp's first row
  int rows;                   // of the warp that are inside the tile
  int value_chunk;
  PairSums<T>& sums;

  __device__ WeightedPairs(const GradientTask<T>& task, int64_t image, const Tile& tile,
                           int first_row, int value_chunk, PairSums<T>& sums)
      : task(task),
        image(image),
        tile_first(tile.first),
        first_own(tile.first + first_row),
        rows(tile.rows - first_row),
        value_chunk(value_chunk),
        sums(sums) {}

  // Scores of columns first.. of the other side's class become gradients, in place.
  __device__ void apply(const Weights<T>& scores, const Range& other, int first) {
    const int columns = other.size() - first;
    const Rates rates{task.temperature.log2_scale(), 1 / task.temperature.value()};
    T temperature[2] = {};
#pragma unroll 1
    for (int block = 0; block < other_rows / 8; ++block) {
      typename Weights<T>::Four& four = scores.own(block);
      // Loaded again for every block, since registers are full of sums.
      const OwnTerms own[2] = {own_terms(0), own_terms(1)};
      const FirstValues<T> own_values[2] = {FirstValues<T>(own[0].values(task, image)),
                                            FirstValues<T>(own[1].values(task, image))};
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int column = block * 8 + column_of(odd);
        const bool is_inside = column < columns;
        const OtherTerms terms(task, image, other.first + first + (is_inside ? column : 0));
        const FirstValues<T> values(terms.values(task, image));
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          T& x = four.x[Weights<T>::place(half * 2 + odd)];
          T slope = 0;
#pragma unroll
          for (int d = 0; d < FirstValues<T>::count; ++d)
            slope += own_values[half].x[d] * values.x[d];
          const bool is_used = is_inside && row_of(half * 2) < rows;
          if (is_used) x = pair(x, half, own[half], terms, slope, rates, temperature[half]);
          x = is_used ? Product::operand(x) : T(0);
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) sums.temperature[half] += temperature[half];
    __syncwarp();
  }

  // Writes the sums over all columns; of rows without a column (not is_related) they are 0.
  __device__ void finish(bool is_related) {
    const Positions& positions = (own_is_query ? task.query : task.key).positions;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = row_of(half * 2), rank = first_own + row;
      const bool writes = threadIdx.x % 4 == 0 && row < rows;
      if (own_is_query && task.temperature_sums && blockIdx.y == 0) {
        const T sum = quad_sum(sums.temperature[half]);
        T* place = task.temperature_sums + image * positions.length + rank;
        if (writes) *place = is_related ? *place + sum : T(0);
      }
      if (!own_is_query && value_chunk >= 0)
#pragma unroll
        for (int d = 0; d < value_block; ++d) {
          const T sum = quad_sum(sums.grad_value[half][d]);
          const int value = value_chunk * value_block + d;
          if (!writes || value >= task.values) continue;
          const int64_t to = image * positions.length + positions.position(image, rank);
          store(task.grad_value, task.value_element, to * task.values + value, sum);
        }
    }
  }

 private:
  struct Rates {
    T log2_scale, inverse_temperature;
  };

  // Rows outside the tile stand for its first one, and are not used.
  __device__ OwnTerms own_terms(int half) const {
    const int row = row_of(half * 2);
    return OwnTerms(task, image, row < rows ? first_own + row : tile_first);
  }

  __device__ T pair(T score, int half, const KeyTerms<T>& key, const QueryTerms<T>& query, T slope,
                    const Rates& rates, T& temperature) const {
    return pair(score, half, query, key, slope, rates, temperature);
  }

  // Gradient of one score of the thread's row `half`. slope: g_warped . v of the first values.
  __device__ T pair(T score, int half, const QueryTerms<T>& query, const KeyTerms<T>& key, T slope,
                    const Rates& rates, T& temperature) const {
    const bool is_match = query.index == key.position;
    T gradient = 0;
    if (task.has_softmax) {
      // Products of another kind than the forward's may round the maximum to another score: its own
      // weight is known, and no other may be higher.
      const T below = is_match ? T(0) : fmin(score - query.row.maximum, T(0));
      const T weight = power_of_two(below * rates.log2_scale - query.row.log2_mass);
      slope += query.row.offset;
      if (task.grad_warped && task.padded_values > FirstValues<T>::count)
        slope += more_products(query.values(task, image), key.values(task, image));
      gradient = weight * slope * rates.inverse_temperature;
      if constexpr (own_is_query) temperature += gradient * below;
      if (!own_is_query && value_chunk >= 0 && task.grad_warped)
        add_values(query.values(task, image), weight, sums.grad_value[half]);
    }
    return is_match ? gradient + query.row.similarity : gradient;
  }

  __device__ T more_products(const T* grad_warped, const T* value) const {
    T sum = 0;
#pragma unroll 1
    for (int d = FirstValues<T>::count; d < task.padded_values; ++d)
      sum += grad_warped[d] * value[d];
    return sum;
  }

  __device__ void add_values(const T* grad_warped, T weight, T (&sums)[value_block]) const {
#pragma unroll
    for (int d = 0; d < value_block; ++d)
      sums[d] += weight * grad_warped[value_chunk * value_block + d];
  }
};

// What cosine blocks have in their place.
struct NoPairs {
  template <class... Arguments>
  __device__ explicit NoPairs(const Arguments&...) {}
};

// A warp's rows of the gradients of a cosine block.
template <class Product, bool own_is_query, class T>
__device__ inline void load_grad_scores(const T* block, int64_t block_columns, int first_own,
                                        int rows, int first, int columns, const Weights<T>& out) {
  __syncwarp();  // the weights before these are read
#pragma unroll 1
  for (int i = 0; i < other_rows / 8; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t own = first_own + row_of(e), other = first + i * 8 + column_of(e);
      const bool is_inside = row_of(e) < rows && i * 8 + column_of(e) < columns;
      const int64_t at = own_is_query ? own * block_columns + other : other * block_columns + own;
      out.own(i).x[Weights<T>::place(e)] = is_inside ? Product::operand(block[at]) : T(0);
    }
  __syncwarp();
}

// Start of block (image, segment) of rows x columns scores, or null where it does not fit.
template <class T>
__device__ inline T* cosine_block(T* values, const int64_t* block_offsets, int64_t total,
                                  int64_t block, int64_t rows, int64_t columns) {
  const int64_t begin = block_offsets[block];
  return 0 <= begin && begin <= total - rows * columns ? values + begin : nullptr;
}

// Blocks: x: tile of 64 own rows; y: slices of channels or, after those, values; z: image.
// A warp has 16 rows of the tile and all 64 rows of the other side at each step.
template <class Product, bool own_is_query, bool of_cosines>
__global__ void __launch_bounds__(gradient_threads, 2)
    gradient_kernel(GradientTask<typename Product::Sum> task, SlicePlan plan) {
  using T = typename Product::Sum;
  constexpr int NI = other_rows / 8, slice_channels = slice_bytes / int(sizeof(T));
  SPCOLOR_SHARED(unsigned char, memory);
  const PackedSide<T>& own = own_is_query ? task.query : task.key;
  const PackedSide<T>& other = own_is_query ? task.key : task.query;
  const int64_t image = blockIdx.z;
  const Tile tile = find_tile(own.positions, image, blockIdx.x, own_rows);
  if (tile.segment < 0) return;
  const bool has_channels = int(blockIdx.y) < task.channel_blocks;
  const int value_chunk = has_channels ? -1 : int(blockIdx.y) - task.channel_blocks;
  plan.first_again = has_channels ? blockIdx.y * most_again<T> : 0;
  const int left = task.packed_channels / slice_channels - plan.first_again;
  plan.again = !has_channels || !task.grad ? 0 : left < most_again<T> ? left : most_again<T>;

  const Positions& positions = other.positions;
  Range range =
      tile.segment < positions.classes ? positions.range(image, tile.segment) : Range{0, 0};
  const int first_row = threadIdx.x / 32 * 16;  // of this warp
  const int64_t first_place = image * own.positions.length + tile.first + first_row;
  const T* block = nullptr;
  int64_t block_columns = 0;
  int first_in_class = 0;
  if constexpr (of_cosines) {
    if (range.size() > 0) {
      const Range own_range = own.positions.range(image, tile.segment);
      const int64_t n = own_range.size(), m = range.size();
      block = cosine_block(task.grad_scores, task.block_offsets, task.total,
                           image * positions.classes + tile.segment, n, m);
      block_columns = own_is_query ? m : n;
      first_in_class = tile.first - own_range.first + first_row;
      if (!block) range.end = range.first;
    }
  }

  unsigned char* pair_memory = memory + GradientStream::bytes(plan);
  const Weights<T> weights(pair_memory + threadIdx.x / 32 * Weights<T>::bytes(NI));
  PairSums<T>& sums = reinterpret_cast<PairSums<T>*>(pair_memory + weight_bytes<T>)[threadIdx.x];
  sums = {};
  using Pairs = std::conditional_t<of_cosines, NoPairs, WeightedPairs<Product, own_is_query>>;
  Pairs pairs(task, image, tile, first_row, value_chunk, sums);
  T out[most_again<T>][Product::outputs] = {};
  const int tiles = (range.size() + other_rows - 1) / other_rows;
  if (tiles > 0) {
    GradientStream stream(memory, plan, own.from(image, tile.first, tile.rows),
                          other.from(image, range.first, range.size()), 0, tiles);
    for (int t = 0; t < tiles; ++t) {
      if constexpr (of_cosines) {
        load_grad_scores<Product, own_is_query>(block, block_columns, first_in_class,
                                                tile.rows - first_row, t * other_rows,
                                                range.size() - t * other_rows, weights);
      } else {
        T scores[1][NI][4] = {};
        for (int slice = 0; slice < plan.slices; ++slice) {
          stream.next();
          Product::multiply(stream.left() + first_row * slice_bytes, stream.right(), scores);
        }
        weights.write(scores[0]);
        pairs.apply(weights, range, t * other_rows);
      }
#pragma unroll
      for (int s = 0; s < most_again<T>; ++s)
        if (s < plan.again) {
          stream.next();
          Product::multiply_rows(weights, NI, stream.right(), out[s]);
        }
    }
  }

#pragma unroll
  for (int s = 0; s < most_again<T>; ++s)
    if (s < plan.again)
#pragma unroll
      for (int i = 0; i < Product::outputs; ++i) {
        const int row = Product::output_row(i);
        const int channel = (plan.first_again + s) * slice_channels + Product::output_channel(i);
        if (first_row + row < tile.rows)
          task.grad[(first_place + row) * task.packed_channels + channel] = out[s][i];
      }
  if constexpr (!of_cosines) pairs.finish(range.size() > 0);
}

}  // namespace spcolor
