// What a matching operator is given, on the host, and how it is computed.
#pragma once

#include "slice_stream.cuh"
#include "unit_vectors.cuh"

namespace spcolor {

enum class Precision { ieee, tf32x3, tf32, bf16, fp16 };

struct Problem {
  Source query, key;  // [B, N, C], [B, M, C]
  Source value;       // [B, M, D]
  bool has_value;     // else only the maximum is wanted
  Positions query_positions, key_positions;
  const void* temperature;  // in the type of sums, on the device; null: host_temperature
  double host_temperature;
  int images;
  bool center, normalize;
  Precision precision;
  int multiprocessors, shared_limit;  // of the device; bytes of a block's shared memory
  bool has_wgmma;                     // a Hopper device

  bool is_empty() const {
    return images == 0 || (query_positions.length == 0 && key_positions.length == 0);
  }
};

// How rows are stored for the products.
struct Packing {
  Element element;
  Rounding rounding;
  bool raw;
};

inline Packing forward_packing(const Problem& problem) {
  switch (problem.precision) {
    case Precision::tf32x3:
      return {Element::float32, Rounding::none, false};
    case Precision::tf32:
      return {Element::float32, Rounding::tf32, false};
    case Precision::bf16:
      return {Element::bfloat16, Rounding::none, false};
    case Precision::fp16:
      return {Element::float16, Rounding::none, false};
    default:
      break;
  }
  const Element element = problem.query.element;
  // Products of 16-bit numbers are exact in float32, so that rounding unit vectors would only lose.
  if (bytes_of(element) == 2 && !problem.center) return {element, Rounding::none, true};
  return {element == Element::float64 ? element : Element::float32, Rounding::none, false};
}

// A backward multiplies weights too, whose range float16 does not have: all its products are of
// 32-bit numbers, which hold what the forward rounded its unit vectors to.
inline Packing backward_packing(const Problem& problem) {
  Packing packing = forward_packing(problem);
  if (packing.element == Element::bfloat16 && !packing.raw) packing.rounding = Rounding::bfloat16;
  if (packing.element == Element::float16 && !packing.raw) packing.rounding = Rounding::float16;
  if (bytes_of(packing.element) == 2) packing.element = Element::float32;
  packing.raw = false;
  return packing;
}

// Sizes of what lies between the kernels.
struct PackedSizes {
  int padded_channels, pitch, slices;

  PackedSizes(int channels, const Packing& packing) {
    const int bytes = bytes_of(packing.element);
    slices = int(ceil_div(int64_t(channels) * bytes, slice_bytes));
    pitch = slices * slice_bytes;
    padded_channels = pitch / bytes;
  }
};

// So many values fill a chunk of 16 bytes with what pads them; more are padded to whole eights.
constexpr int few_values = 3;
inline int padded_values(int values) {
  return values <= few_values ? 4 : int(ceil_div(values, 8)) * 8;
}

// Takes from `workspace` what packing both sides needs.
template <class T>
UnitVectorsTask<T> unit_vectors_task(const Problem& problem, const Packing& packing,
                                     int counter_count, Workspace& workspace) {
  const PackedSizes sizes(problem.query.channels, packing);
  UnitVectorsTask<T> task{};
  const auto side = [&](const Source& features, const Positions& positions) {
    const int64_t rows = int64_t(problem.images) * positions.length;
    const int64_t classes = int64_t(problem.images) * positions.classes;
    return Side<T>{features,
                   has_chunks(features),
                   positions,
                   workspace.take<T>(problem.center ? classes * features.channels : 0),
                   workspace.take<unsigned char>(rows * sizes.pitch),
                   workspace.take<T>(rows)};
  };
  task.query = side(problem.query, problem.query_positions);
  task.key = side(problem.key, problem.key_positions);
  const bool in_chunks = task.query.in_chunks && task.key.in_chunks;
  const int64_t classes = 2 * int64_t(problem.images) * problem.query_positions.classes;
  task.mean_channels = mean_slice(problem.query.channels, classes, in_chunks);
  task.value = problem.value;
  task.padded_values = padded_values(problem.value.channels);
  if (problem.has_value)
    task.packed_value = workspace.take<T>(int64_t(problem.images) * problem.key_positions.length *
                                          task.padded_values);
  task.images = problem.images;
  task.padded_channels = sizes.padded_channels;
  task.center = problem.center;
  task.normalize = problem.normalize;
  task.raw = packing.raw;
  task.packed = packing.element;
  task.rounding = packing.rounding;
  task.counters = workspace.take<int>(counter_count);
  task.counter_count = counter_count;
  return task;
}

template <class T>
PackedSide<T> packed_side(const Side<T>& side, const Packing& packing) {
  const PackedSizes sizes(side.features.channels, packing);
  return {side.positions, static_cast<const unsigned char*>(side.rows), sizes.pitch,
          packing.raw ? side.scale : nullptr};
}

// f(E{}) with the type of the features.
template <class F>
void with_element(Element element, const F& f) {
  switch (element) {
    case Element::float32:
      return f(float{});
    case Element::float64:
      return f(double{});
    case Element::bfloat16:
      return f(__nv_bfloat16{});
    case Element::float16:
      return f(__half{});
  }
}

template <class T>
struct Type {
  using type = T;
};

// Of 32-bit rows. left_is_query: see Tf32x3Unit.
template <bool left_is_query, class F>
void with_float_product(Precision precision, const F& f) {
  if (precision == Precision::ieee)
    f(Type<FmaProduct<float>>{});
  else if (precision == Precision::tf32x3)
    f(Type<TensorProduct<Tf32x3Unit<left_is_query>>>{});
  else
    f(Type<TensorProduct<Tf32Unit>>{});
}

// f(Type<Product>{}) with the product that reads `packing`. T is the type of sums.
template <class T, bool left_is_query, class F>
void with_product(const Packing& packing, Precision precision, const F& f) {
  if constexpr (std::is_same_v<T, double>) {
    f(Type<FmaProduct<double>>{});
  } else if (packing.element == Element::bfloat16) {
    f(Type<TensorProduct<HalfUnit<__nv_bfloat16>>>{});
  } else if (packing.element == Element::float16) {
    f(Type<TensorProduct<HalfUnit<__half>>>{});
  } else {
    with_float_product<left_is_query>(precision, f);
  }
}

}  // namespace spcolor
