// The arguments that every matching operator has, checked, as its kernels take them.
#pragma once

#include <optional>
#include <string>

#include "../checks.h"
#include "device.h"
#include "problem.cuh"

namespace spcolor {

using Optional = std::optional<Tensor>;

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

inline Precision precision_of(const std::string& name, Element features) {
  constexpr const char* names[] = {"ieee", "tf32x3", "tf32", "bf16", "fp16"};
  for (int i = 0; i < 5; ++i)
    if (name == names[i]) {
      SPCOLOR_CHECK(i == 0 || features != Element::float64,
                    "precision: float64 features need 'ieee', got '", name, "'");
      return static_cast<Precision>(i);
    }
  SPCOLOR_CHECK(false, "precision: expected ieee, tf32x3, tf32, bf16 or fp16, got '", name, "'");
  return Precision::ieee;
}

// Data of a tensor for kernels to read.
template <class T>
const T* data_of(const Tensor& tensor) {
  device::lend(tensor);
  return static_cast<const T*>(tensor.const_data_ptr());
}

// Data of a tensor for kernels to write.
inline void* target(const Tensor& tensor) {
  device::lend(tensor);
  return tensor.mutable_data_ptr();
}

struct Inputs {
  Problem problem{};
  Tensor query, key, value, query_offsets, key_offsets, temperature;
  Optional query_order, key_order;  // kept alive while kernels are launched
  int64_t B, N, M, C, K, D;
  int32_t device_index;
  device::Guard guard;

  Inputs(const Tensor& q, const Tensor& k, const Optional& v, const Optional& q_order,
         const Tensor& q_offsets, const Optional& k_order, const Tensor& k_offsets, bool center,
         bool normalize, const std::string& precision)
      : query(q), key(k), device_index(q.get_device_index()), guard(device_index) {
    SPCOLOR_CHECK(q.dim() == 3, "query: expected shape [B, N, C], got ", shape_of(q));
    SPCOLOR_CHECK(k.dim() == 3, "key: expected shape [B, M, C], got ", shape_of(k));
    SPCOLOR_CHECK(q_offsets.dim() == 2 && q_offsets.size(1) >= 2,
                  "query_offsets: expected shape [B, K + 1], got ", shape_of(q_offsets));
    B = q.size(0), N = q.size(1), M = k.size(1), C = q.size(2), K = q_offsets.size(1) - 1;
    constexpr int64_t most = (int64_t(1) << 31) - 4096;
    SPCOLOR_CHECK(C >= 1, "query: expected at least one channel, got ", shape_of(q));
    SPCOLOR_CHECK(std::max({N, M, C, K}) < most, "query, key: too many positions or channels");
    SPCOLOR_CHECK(B < 65536, "query: expected fewer than 65536 images, got ", shape_of(q));
    check_shape("key", k, {B, M, C});
    check_dtype("key", k, q.scalar_type());
    problem.images = int(B);
    problem.query = source("query", q);
    problem.key = source("key", k);
    problem.query_positions = positions("query", q_order, q_offsets, N, query_order, query_offsets);
    problem.key_positions = positions("key", k_order, k_offsets, M, key_order, key_offsets);
    D = 0;
    if (v) {
      SPCOLOR_CHECK(v->dim() == 3, "value: expected shape [B, M, D], got ", shape_of(*v));
      D = v->size(2);
      check_shape("value", *v, {B, M, D});
      value = *v;
      problem.value = source("value", *v);
      problem.has_value = true;
    }
    problem.center = center;
    problem.normalize = normalize;
    problem.precision = precision_of(precision, problem.query.element);
    problem.multiprocessors = device::multiprocessors(device_index);
    problem.shared_limit = device::shared_limit(device_index);
    problem.has_wgmma = device::has_wgmma(device_index);
  }

  void set_temperature(const Tensor& tau) {
    SPCOLOR_CHECK(tau.numel() == 1, "temperature: expected one element, got ", shape_of(tau));
    check_dtype("temperature", tau, sums());
    temperature = tau;
    if (tau.is_cpu())
      problem.host_temperature = sums() == ScalarType::Double ? *tau.const_data_ptr<double>()
                                                              : *tau.const_data_ptr<float>();
    else
      problem.temperature = data_of<void>(tau);
  }

  bool is_double() const { return problem.query.element == Element::float64; }
  ScalarType sums() const { return is_double() ? ScalarType::Double : ScalarType::Float; }
  cudaStream_t stream() const { return device::stream(device_index); }

  Tensor empty(std::initializer_list<int64_t> shape, ScalarType dtype) const {
    return torch::stable::new_empty(query, shape, dtype);
  }

  // Measures the workspace that `launch` takes, then launches with it.
  template <class F>
  void run(const F& launch) const {
    Workspace measured;
    launch(measured);
    const Tensor memory = empty({measured.bytes()}, ScalarType::Byte);
    Workspace workspace(target(memory));
    launch(workspace);
  }

 private:
  static Source source(const char* name, const Tensor& x) {
    return {data_of<void>(x), element_of(name, x), x.stride(0),
            x.stride(1),      x.stride(2),         int(x.size(2))};
  }

  Positions positions(const std::string& side, const Optional& order, const Tensor& offsets,
                      int64_t length, Optional& kept_order, Tensor& kept_offsets) const {
    const std::string order_name = side + "_order", offsets_name = side + "_offsets";
    check_dtype(offsets_name.c_str(), offsets, ScalarType::Int);
    check_shape(offsets_name.c_str(), offsets, {B, K + 1});
    kept_offsets = torch::stable::contiguous(offsets);
    if (order) {
      check_dtype(order_name.c_str(), *order, ScalarType::Int);
      check_shape(order_name.c_str(), *order, {B, length});
      kept_order = torch::stable::contiguous(*order);
    }
    return {int(length), int(K), kept_order ? data_of<int32_t>(*kept_order) : nullptr,
            data_of<int32_t>(kept_offsets)};
  }
};

}  // namespace spcolor
