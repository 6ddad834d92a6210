// What every module with emulated kernels offers to Python, beside its kernels.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "emulator.h"

namespace emulator {

// Error; seed(n): order of blocks and threads, 0 not shuffled; lend(address, bytes) and
// take_back(): in a checked build launches touch nothing that is not lent, as soon as anything is.
inline void add_to(pybind11::module_& m) {
  pybind11::register_local_exception<Error>(m, "Error", PyExc_RuntimeError);
  m.attr("checked") = checked;
  m.def("seed", &seed);
  m.def("lend", [](uintptr_t address, size_t bytes) {
    lend(reinterpret_cast<const void*>(address), bytes);
  });
  m.def("take_back", &take_back);
}

// Data of a C-contiguous array, lent to the launches that follow.
template <class T>
T* device(pybind11::array_t<T, pybind11::array::c_style>& array) {
  lend(array.data(), array.nbytes());
  return const_cast<T*>(array.data());
}

}  // namespace emulator
