// The whole table of one level. Included inside namespace spcolor::<level>.

#pragma once

#include "backward.inl"
#include "correspondence.inl"
#include "rows.inl"

template <class T>
const Kernels<T>& kernels() {
  static constexpr Kernels<T> table = {
      SPCOLOR_LEVEL_NAME, query_width,           key_width<T>,    Simd<T>::lanes, gather<T>,
      sum_positions<T>,   pack_features<T>,      pack_values<T>,  forward<T>,     scores<T>,
      backward<T>,        normalize_backward<T>, scatter_rows<T>,
  };
  return table;
}

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();
