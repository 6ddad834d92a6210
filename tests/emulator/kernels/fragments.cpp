#include "fragments.cuh"

#include "python.h"

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

template <class... T>
void lend_only(Array<T>&... arrays) {
  emulator::take_back();
  (emulator::device(arrays), ...);
}

PYBIND11_MODULE(EMULATED_MODULE, m) {
  emulator::add_to(m);
  m.def("load", [](bool transposed, Array<uint16_t> in, Array<unsigned> out) {
    lend_only(in, out);
    fragments::run_load(transposed, in.data(), out.mutable_data(), nullptr);
  });
  m.def("multiply", [](const std::string& type, Array<unsigned> a, Array<unsigned> b,
                       Array<float> c, Array<float> d) {
    lend_only(a, b, c, d);
    fragments::run_multiply(type, a.data(), b.data(), c.data(), d.mutable_data(), nullptr);
  });
  m.def("round_to_tf32", [](Array<float> in, Array<unsigned> out) {
    lend_only(in, out);
    fragments::run_round_to_tf32(in.data(), out.mutable_data(), nullptr);
  });
}
