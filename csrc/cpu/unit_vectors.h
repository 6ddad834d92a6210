// Unit vectors of a batch of related classes in panels, and the way back for their gradients.
#pragma once

#include <limits>

#include "kernels.h"
#include "related_classes.h"

namespace spcolor {

inline Element element_of(const char* name, const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return Element::float32;
    case ScalarType::Double:
      return Element::float64;
    case ScalarType::BFloat16:
      return Element::bfloat16;
    case ScalarType::Half:
      return Element::float16;
    default:
      SPCOLOR_CHECK(false, name, ": expected float32, float64, bfloat16 or float16, got ",
                    torch::headeronly::toString(tensor.scalar_type()));
  }
  return Element::float32;
}

inline int64_t bytes_of(Element element) {
  return element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
}

template <class E>
void transpose_image(const E* from, int64_t channel_stride, int64_t N, int64_t C, E* to) {
  constexpr int64_t side = 16, channels = 8;  // rows 2^12 bytes apart share a cache set of 8 lines
  run_tasks(ceil_div(N, side), [&](int64_t task, int64_t) {
    const int64_t first = task * side, last = std::min(first + side, N);
    for (int64_t c_first = 0; c_first < C; c_first += channels)
      for (int64_t n = first; n < last; ++n)
        for (int64_t c = c_first; c < std::min(c_first + channels, C); ++c)
          to[n * C + c] = from[c * channel_stride + n];
  });
}

// Returns x [B, N, C] with its channels side by side if its positions are (a channel-first map):
// the classes would otherwise read most of its cache lines once each.
inline Tensor token_major(const Tensor& x) {
  const int64_t B = x.size(0), N = x.size(1), C = x.size(2);
  if (x.stride(1) != 1 || x.stride(2) < N) return x;
  Tensor copy = torch::stable::new_empty(x, x.sizes());
  const int64_t bytes = bytes_of(element_of("features", x));
  const auto transpose = [&](auto element) {
    using E = decltype(element);
    for (int64_t b = 0; b < B; ++b)
      transpose_image(static_cast<const E*>(x.const_data_ptr()) + b * x.stride(0), x.stride(2), N,
                      C, static_cast<E*>(copy.mutable_data_ptr()) + b * N * C);
  };
  if (bytes == 2)
    transpose(uint16_t{});
  else if (bytes == 4)
    transpose(uint32_t{});
  else
    transpose(uint64_t{});
  return copy;
}

// A tensor [B, N, C] of any strides together with the class order [B, N] of its positions.
struct Source {
  const char* name;
  Tensor tensor;
  std::optional<Tensor> order;

  // Positions of one image from `rank` on, in class order.
  Positions positions(int64_t image, int64_t rank) const {
    const Element element = element_of(name, tensor);
    const int64_t first = image * tensor.stride(0) + (order ? 0 : rank * tensor.stride(1));
    return {static_cast<const char*>(tensor.const_data_ptr()) + first * bytes_of(element), element,
            tensor.stride(1), tensor.stride(2),
            order ? order->const_data_ptr<int32_t>() + image * tensor.size(1) + rank : nullptr};
  }
};

// One side's rows of one class: what differs between queries and keys.
struct ClassRows {
  int64_t image, count, rank, row, slot;
};
enum class Side { query, key };

inline ClassRows rows_of(const RelatedClass& c, Side side) {
  return side == Side::query ? ClassRows{c.image, c.n, c.query_rank, c.query_row, c.query_slot}
                             : ClassRows{c.image, c.m, c.key_rank, c.key_row, c.key_slot};
}

// A run of rows of one class, the unit of work of the memory-bound passes.
struct Chunk {
  int64_t group, begin, count;
};

inline std::vector<Chunk> chunks_of(const Batch& batch, Side side, int64_t size) {
  std::vector<Chunk> chunks;
  for (int64_t g = 0; g < int64_t(batch.list.size()); ++g) {
    const int64_t count = rows_of(batch.list[g], side).count;
    for (int64_t begin = 0; begin < count; begin += size)
      chunks.push_back({g, begin, std::min(size, count - begin)});
  }
  return chunks;
}

constexpr int64_t chunk_rows = 192;  // a multiple of every panel width

// means [groups, C] += the chunks' sums [chunks, stride] over their class, divided by its size.
template <class T>
void add_means(const Batch& batch, Side side, const std::vector<Chunk>& chunks, const T* sums,
               int64_t stride, int64_t C, T* means) {
  int64_t chunk = 0;
  std::vector<double> total(C);
  for (int64_t g = 0; g < int64_t(batch.list.size()); ++g) {
    std::fill(total.begin(), total.end(), 0.0);
    for (; chunk < int64_t(chunks.size()) && chunks[chunk].group == g; ++chunk)
      for (int64_t c = 0; c < C; ++c) total[c] += double(sums[chunk * stride + c]);
    const double count = double(rows_of(batch.list[g], side).count);
    for (int64_t c = 0; c < C; ++c) means[g * C + c] += T(total[c] / count);
  }
}

// ||x - mean|| / ||x|| at or below which a centred vector is rounding noise.
template <class T>
T relative_zero(Element element) {
  constexpr double of_float32 = 1e-6, epsilon32 = std::numeric_limits<float>::epsilon();
  switch (element) {
    case Element::float64:
      return T(of_float32 * std::numeric_limits<double>::epsilon() / epsilon32);
    case Element::bfloat16:
      return T(of_float32 * 0x1p-7 / epsilon32);
    case Element::float16:
      return T(of_float32 * 0x1p-10 / epsilon32);
    default:
      return T(of_float32);
  }
}

// A place for the gradient of `source` [B, N, C], of whose positions `rows` will be written.
inline Source gradient_of(const Source& source, int64_t rows) {
  const Tensor& x = source.tensor;
  const bool is_whole = rows == x.size(0) * x.size(1);
  return {
      source.name,
      is_whole ? torch::stable::new_empty(x, x.sizes()) : torch::stable::new_zeros(x, x.sizes()),
      source.order};
}

// One side's unit vectors, in panels for the microkernel and, for a backward, in rows.
template <class T>
struct UnitVectors {
  Source source;
  Side side;
  int64_t C, width, row_stride;
  bool center, normalize;
  Buffer<T> panels;  // [slots, C] in panels of `width`
  Buffer<T> rows;    // [rows, row_stride]
  Buffer<T> scale;   // [rows]

  UnitVectors(Source source, Side side, const Batch& batch, const Kernels<T>& kernels, bool center,
              bool normalize, bool keep_rows)
      : source(source),
        side(side),
        C(source.tensor.size(2)),
        width(side == Side::query ? kernels.query_width : kernels.key_width),
        row_stride(round_up(C, row_alignment)),
        center(center),
        normalize(normalize),
        panels((side == Side::query ? batch.query_slots : batch.key_slots) * C),
        rows(keep_rows ? row_count(batch) * row_stride : 0),
        scale(row_count(batch)) {
    const std::vector<Chunk> chunks = chunks_of(batch, side, chunk_rows);
    const int64_t count = int64_t(chunks.size()), scratch_size = width * (C + pack_padding);
    const Buffer<T> scratch(workers_for(count) * scratch_size);
    Buffer<T> means;  // [groups, C]
    if (center) {
      const Buffer<T> sums(count * C, T(0));
      run_tasks(count, [&](int64_t task, int64_t) {
        const Chunk& chunk = chunks[task];
        const ClassRows group = rows_of(batch.list[chunk.group], side);
        kernels.sum_positions(source.positions(group.image, group.rank), chunk.begin, chunk.count,
                              C, sums.get() + task * C);
      });
      means = Buffer<T>(int64_t(batch.list.size()) * C);
      for (int64_t g = 0; g < int64_t(batch.list.size()); ++g) {
        const ClassRows group = rows_of(batch.list[g], side);
        kernels.gather(source.positions(group.image, group.rank), 0, 1, C, means.get() + g * C, C);
      }
      add_means(batch, side, chunks, sums.get(), C, C, means.get());
    }
    const T zero = relative_zero<T>(element_of(source.name, source.tensor));
    run_tasks(count, [&](int64_t task, int64_t worker) {
      const Chunk& chunk = chunks[task];
      const ClassRows group = rows_of(batch.list[chunk.group], side);
      const int64_t row = group.row + chunk.begin;
      kernels.pack_features({positions(batch, chunk), chunk.count, C, width,
                             center ? means.get() + chunk.group * C : nullptr, normalize, zero,
                             panels.get() + (group.slot + chunk.begin) * C,
                             keep_rows ? rows.get() + row * row_stride : nullptr, row_stride,
                             scale.get() + row, scratch.get() + worker * scratch_size});
    });
  }

  // Whether a feature of this class is not finite.
  bool is_spoiled(const RelatedClass& related_class) const {
    const ClassRows group = rows_of(related_class, side);
    bool any = false;
    for (int64_t r = 0; r < group.count; ++r) any |= scale[group.row + r] != scale[group.row + r];
    return any;
  }

  // grad_rows [rows, row_stride]: gradients of the unit vectors, overwritten on the way.
  // Writes the gradient of the source to the batch's positions of `grad`.
  void backward(const Batch& batch, const Kernels<T>& kernels, const Buffer<T>& grad_rows,
                const Source& grad) const {
    const std::vector<Chunk> chunks = chunks_of(batch, side, chunk_rows);
    const int64_t count = int64_t(chunks.size());
    const Buffer<T> sums(count * row_stride, T(0));
    run_tasks(count, [&](int64_t task, int64_t) {
      const int64_t row = rows_of(batch.list[chunks[task].group], side).row + chunks[task].begin;
      kernels.normalize_backward(grad_rows.get() + row * row_stride, rows.get() + row * row_stride,
                                 scale.get() + row, chunks[task].count, row_stride, normalize,
                                 sums.get() + task * row_stride);
    });
    Buffer<T> means;
    if (center) {
      means = Buffer<T>(int64_t(batch.list.size()) * C, T(0));
      add_means(batch, side, chunks, sums.get(), row_stride, C, means.get());
    }
    run_tasks(count, [&](int64_t task, int64_t) {
      const Chunk& chunk = chunks[task];
      const ClassRows group = rows_of(batch.list[chunk.group], side);
      kernels.scatter_rows(grad_rows.get() + (group.row + chunk.begin) * row_stride,
                           center ? means.get() + chunk.group * C : nullptr, chunk.count, C,
                           row_stride, grad.positions(group.image, group.rank + chunk.begin));
    });
  }

 private:
  int64_t row_count(const Batch& batch) const {
    return side == Side::query ? batch.query_rows : batch.key_rows;
  }

  Positions positions(const Batch& batch, const Chunk& chunk) const {
    const ClassRows group = rows_of(batch.list[chunk.group], side);
    return source.positions(group.image, group.rank + chunk.begin);
  }
};

// Whether a feature of this class is not finite, on either side.
template <class T>
bool is_spoiled(const RelatedClass& c, const UnitVectors<T>& query, const UnitVectors<T>& key) {
  return query.is_spoiled(c) || key.is_spoiled(c);
}

// Sets the gradient rows of a class to NaN.
template <class T>
void spoil_rows(const RelatedClass& c, int64_t row_stride, const Buffer<T>& grad_query,
                const Buffer<T>& grad_key) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  std::fill_n(grad_query.get() + c.query_row * row_stride, c.n * row_stride, nan);
  std::fill_n(grad_key.get() + c.key_row * row_stride, c.m * row_stride, nan);
}

}  // namespace spcolor
