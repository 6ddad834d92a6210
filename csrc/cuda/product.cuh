// Products of tiles of packed rows, and the shared memory that they are read from.
//
// Rows are cut into slices of 128 bytes of channels. A slice of a tile lies in shared memory row by
// row, its eight 16-byte chunks permuted by the row's number, so that the eight rows that one
// access touches always lie in different banks.
//
// Every product leaves its sums where a tensor core does: thread (g, t) = (lane / 4, lane % 4) of a
// warp holds rows g and g + 8 and columns 2t and 2t + 1 of each 16 x 8 block. What is done with the
// sums is then written once for all of them.
#pragma once

#include "positions.cuh"

namespace spcolor {

constexpr int slice_bytes = 128, chunk_bytes = 16, chunks = slice_bytes / chunk_bytes;

__device__ constexpr int swizzled(int row, int chunk) {
  return row * slice_bytes + ((chunk ^ (row % 8)) * chunk_bytes);
}

// Packed rows in global memory, from the first one of a tile or class on.
struct Rows {
  const unsigned char* data;
  int64_t pitch;  // bytes
  int count;
};

// Copies slices of tiles of rows to shared memory. What a thread copies begins at the same place of
// every slice, which is found once.
template <int tile_rows, int threads>
class SliceCopy {
 public:
  __device__ explicit SliceCopy(const Rows& rows)
      : data_(rows.data),
        from_(rows.data + row() * rows.pitch + chunk() * chunk_bytes),
        pitch_(int(rows.pitch)),
        count_(rows.count - row()),
        to_(swizzled(row(), chunk())) {}

  // Starts to copy one slice of rows first..first + tile_rows. Rows beyond the last become zeros:
  // those in memory there belong to another class, whose numbers need not be finite.
  __device__ void start(unsigned char* tile, int first, int slice) const {
    const unsigned char* from = from_ + int64_t(first) * pitch_ + slice * slice_bytes;
#pragma unroll
    for (int r = 0; r < tile_rows; r += rows_at_once) {
      const bool is_inside = first + r < count_;
      prim::cp_async16(tile + to_ + r * slice_bytes, is_inside ? from : data_,
                       is_inside ? chunk_bytes : 0);
      from += int64_t(rows_at_once) * pitch_;
    }
  }

 private:
  static constexpr int rows_at_once = threads / chunks;
  static_assert(tile_rows % rows_at_once == 0 && rows_at_once % 8 == 0);

  static __device__ int row() { return threadIdx.x / chunks; }
  static __device__ int chunk() { return threadIdx.x % chunks; }

  const unsigned char *data_, *from_;
  int pitch_, count_, to_;
};

__device__ inline int lane_id() { return threadIdx.x % 32; }

// Row and column of sum e of a 16 x 8 block.
__device__ inline int row_of(int e) { return lane_id() / 4 + e / 2 * 8; }
__device__ inline int column_of(int e) { return lane_id() % 4 * 2 + e % 2; }

// Two chunks of 16 rows: the left operand of one step of any tensor-core product here, since four
// bytes of a row are two 16-bit numbers or one 32-bit number.
__device__ inline void load_left(const unsigned char* rows, int step, uint32_t (&bits)[4]) {
  const int lane = lane_id();
  prim::ldmatrix_x4(bits, rows + swizzled(lane % 16, 2 * step + lane / 16));
}

// Two chunks of 2 x 8 rows: the right operands of two blocks, one after the other.
__device__ inline void load_right(const unsigned char* rows, int step, uint32_t (&bits)[4]) {
  const int lane = lane_id();
  prim::ldmatrix_x4(bits, rows + swizzled(lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
}

// A warp's sums of 16 rows, in shared memory so that a loop can walk over their blocks of columns.
template <class T>
class Weights {
 public:
  struct alignas(16) Four {
    T x[4];  // of a thread of a product, in the order of a left operand
  };

  // Where sum e of a block is.
  __host__ __device__ static constexpr int place(int e) { return e % 2 * 2 + e / 2; }

  __device__ explicit Weights(unsigned char* memory) : memory_(reinterpret_cast<Four*>(memory)) {}

  __host__ __device__ static constexpr int bytes(int blocks) {
    return blocks * 32 * int(sizeof(Four));
  }

  template <int NI>
  __device__ void write(const T (&sums)[NI][4]) const {
    __syncwarp();  // the weights before these are read
#pragma unroll
    for (int i = 0; i < NI; ++i)
      memory_[i * 32 + lane_id()] = {sums[i][0], sums[i][2], sums[i][1], sums[i][3]};
    __syncwarp();
  }

  __device__ Four of_lane(int block, int lane) const { return memory_[block * 32 + lane]; }
  __device__ Four& own(int block) const { return memory_[block * 32 + lane_id()]; }

 private:
  Four* memory_;
};

// The matrix units. Each splits the bits of an operand into fragments and adds a product of two.

template <int n>
struct Bits {
  uint32_t bits[n];

  __device__ explicit Bits(const uint32_t* from) {
#pragma unroll
    for (int i = 0; i < n; ++i) bits[i] = from[i];
  }
};

// bfloat16 or float16.
template <class E>
struct HalfUnit {
  using Element = E;
  template <int n>
  using Fragment = Bits<n>;

  static __device__ void add(float (&sum)[4], const Bits<4>& left, const Bits<2>& right) {
    prim::mma_m16n8k16<E>(sum, left.bits, right.bits, sum);
  }
};

// float32 numbers that are tf32 numbers already, as packed rows are; weights are rounded.
struct Tf32Unit {
  using Element = float;
  template <int n>
  using Fragment = Bits<n>;

  static __device__ float operand(float weight) { return tf32(weight); }

  static __device__ void add(float (&sum)[4], const Bits<4>& left, const Bits<2>& right) {
    prim::mma_m16n8k8_tf32(sum, left.bits, right.bits, sum);
  }
};

// float32 as the sum of two tf32 numbers, all but the product of the two small ones. Both small
// products are added in an order that depends on the operands' roles and not on their sides: a
// backward that exchanges the sides recomputes the very scores of the forward.
template <bool left_is_query>
struct Tf32x3Unit {
  using Element = float;
  static __device__ float operand(float weight) { return weight; }

  template <int n>
  struct Fragment {
    uint32_t high[n], low[n];

    __device__ explicit Fragment(const uint32_t* from) {
#pragma unroll
      for (int i = 0; i < n; ++i) {
        const float x = __uint_as_float(from[i]), rounded = tf32(x);
        high[i] = __float_as_uint(rounded);
        low[i] = __float_as_uint(tf32(x - rounded));
      }
    }
  };

  static __device__ void add(float (&sum)[4], const Fragment<4>& left, const Fragment<2>& right) {
    if constexpr (left_is_query) {
      prim::mma_m16n8k8_tf32(sum, left.low, right.high, sum);
      prim::mma_m16n8k8_tf32(sum, left.high, right.low, sum);
    } else {
      prim::mma_m16n8k8_tf32(sum, left.high, right.low, sum);
      prim::mma_m16n8k8_tf32(sum, left.low, right.high, sum);
    }
    prim::mma_m16n8k8_tf32(sum, left.high, right.high, sum);
  }
};

// Products on the tensor cores.
template <class Unit>
struct TensorProduct {
  using Sum = float;
  using Element = typename Unit::Element;  // of the packed rows

  // sums [16 MI, 8 NI] += left [16 MI, slice] . right [8 NI, slice]^T.
  template <int MI, int NI>
  static __device__ void multiply(const unsigned char* left, const unsigned char* right,
                                  float (&sums)[MI][NI][4]) {
// One step at a time where a backward's sums fill the registers.
#pragma unroll(MI)
    for (int step = 0; step < chunks / 2; ++step) {
      uint32_t left_bits[MI][4];
#pragma unroll
      for (int i = 0; i < MI; ++i) load_left(left + i * 16 * slice_bytes, step, left_bits[i]);
      multiply_step(left_bits, right, step, sums);
    }
  }

  // What a weight has to be for multiply_rows.
  static __device__ float operand(float weight) { return Unit::operand(weight); }

  // out [16, slice] += weights [16, 8 blocks] . rows [8 blocks, slice]; only for 32-bit rows. The
  // weights serve as a left operand as a product left them: column 2t stands for t and 2t + 1 for
  // t + 4, and so do the rows of the right operand. Column g of right operand `block` is channel
  // 4 g + block of the slice, so that a chunk of a row has what a thread needs of it for all four.
  static constexpr int outputs = 16;  // of a thread

  static __device__ void multiply_rows(const Weights<float>& weights, int blocks,
                                       const unsigned char* rows, float (&out)[outputs]) {
    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll 1
    for (int i = 0; i < blocks; ++i) {
      const auto own = weights.own(i);
      uint32_t left_bits[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) left_bits[e] = __float_as_uint(own.x[e]);
      const typename Unit::template Fragment<4> left(left_bits);
      Chunk right[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) right[r] = load_chunk(rows, i * 8 + 2 * t + r, g);
#pragma unroll
      for (int block = 0; block < 4; ++block) {
        const uint32_t right_bits[2] = {right[0].bits[block], right[1].bits[block]};
        float (&sum)[4] = reinterpret_cast<float (&)[4]>(out[block * 4]);
        Unit::add(sum, left, typename Unit::template Fragment<2>(right_bits));
      }
    }
  }

  // Row and channel, within the slice, of output i.
  static __device__ int output_row(int i) { return row_of(i % 4); }
  static __device__ int output_channel(int i) { return column_of(i % 4) * 4 + i / 4; }

 private:
  struct alignas(chunk_bytes) Chunk {
    uint32_t bits[4];
  };

  static __device__ Chunk load_chunk(const unsigned char* rows, int row, int chunk) {
    return *reinterpret_cast<const Chunk*>(rows + swizzled(row, chunk));
  }

  template <int MI, int NI>
  static __device__ void multiply_step(const uint32_t (&left_bits)[MI][4],
                                       const unsigned char* right, int step,
                                       float (&sums)[MI][NI][4]) {
    if constexpr (MI == 1) {
      const typename Unit::template Fragment<4> left(left_bits[0]);
      for_each_right<NI>(
          right, step, [&](int j, const auto& fragment) { Unit::add(sums[0][j], left, fragment); });
    } else {
      static_assert(MI == 2);
      const typename Unit::template Fragment<4> low(left_bits[0]), high(left_bits[1]);
      for_each_right<NI>(right, step, [&](int j, const auto& fragment) {
        Unit::add(sums[0][j], low, fragment);
        Unit::add(sums[1][j], high, fragment);
      });
    }
  }

  template <int NI, class F>
  static __device__ void for_each_right(const unsigned char* right, int step, const F& f) {
#pragma unroll
    for (int j = 0; j < NI; j += 2) {
      uint32_t bits[4];
      load_right(right + j * 8 * slice_bytes, step, bits);
      f(j, typename Unit::template Fragment<2>(bits));
      f(j + 1, typename Unit::template Fragment<2>(bits + 2));
    }
  }
};

template <class Product>
constexpr bool is_on_tensor_cores = false;
template <class Unit>
constexpr bool is_on_tensor_cores<TensorProduct<Unit>> = true;

template <class Product>
constexpr bool is_half = sizeof(typename Product::Element) == 2;

// Products in T itself, one fused multiply-add after another.
template <class T>
struct FmaProduct {
  using Sum = T;
  using Element = T;
  static constexpr int chunk_channels = chunk_bytes / int(sizeof(T));

  struct alignas(chunk_bytes) Chunk {
    T x[chunk_channels];
  };

  static __device__ Chunk load(const unsigned char* rows, int row, int chunk) {
    return *reinterpret_cast<const Chunk*>(rows + swizzled(row, chunk));
  }

  template <int MI, int NI>
  static __device__ void multiply(const unsigned char* left, const unsigned char* right,
                                  T (&sums)[MI][NI][4]) {
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
      Chunk a[MI][2];
#pragma unroll
      for (int i = 0; i < MI; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          a[i][half] = load(left, i * 16 + row_of(half * 2), chunk);
#pragma unroll
      for (int j = 0; j < NI; ++j)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
          const Chunk b = load(right, j * 8 + column_of(odd), chunk);
#pragma unroll
          for (int i = 0; i < MI; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
              for (int c = 0; c < chunk_channels; ++c)
                sums[i][j][half * 2 + odd] += a[i][half].x[c] * b.x[c];
        }
    }
  }

  static __device__ T operand(T weight) { return weight; }

  // A thread's outputs are rows g and g + 8 of chunks t and t + 4.
  static constexpr int outputs = 4 * chunk_channels;

  static __device__ void multiply_rows(const Weights<T>& weights, int blocks,
                                       const unsigned char* rows, T (&out)[outputs]) {
    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll 1
    for (int i = 0; i < blocks; ++i)
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) {
        const auto four = weights.of_lane(i, g * 4 + pair);
#pragma unroll
        for (int odd = 0; odd < 2; ++odd)
#pragma unroll
          for (int part = 0; part < 2; ++part) {
            const Chunk b = load(rows, i * 8 + pair * 2 + odd, t + 4 * part);
#pragma unroll
            for (int c = 0; c < chunk_channels; ++c) {
              out[part * chunk_channels + c] += four.x[2 * odd] * b.x[c];
              out[(2 + part) * chunk_channels + c] += four.x[2 * odd + 1] * b.x[c];
            }
          }
      }
  }

  static __device__ int output_row(int i) { return row_of(i / (2 * chunk_channels) * 2); }
  static __device__ int output_channel(int i) {
    const int part = i / chunk_channels % 2;
    return (lane_id() % 4 + 4 * part) * chunk_channels + i % chunk_channels;
  }
};

}  // namespace spcolor
