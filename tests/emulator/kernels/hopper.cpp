#include "hopper.cuh"

#include "python.h"

using Rows = pybind11::array_t<unsigned char, pybind11::array::c_style>;  // [rows, 128]
using Sums = pybind11::array_t<float, pybind11::array::c_style>;          // [64, 128]

template <class T, hopper::Bug bug = hopper::Bug::none>
void run(Rows left, int first_left, Rows right, int first_right, Sums out) {
  emulator::take_back();
  const void *a = emulator::device(left), *b = emulator::device(right);
  hopper::run<T, bug>(a, int(left.shape(0)), first_left, b, int(right.shape(0)), first_right,
                      emulator::device(out), nullptr);
}

#define PLANTED(bug) m.def(#bug, &run<__nv_bfloat16, hopper::Bug::bug>)

PYBIND11_MODULE(EMULATED_MODULE, m) {
  emulator::add_to(m);
  m.def("fp16", &run<__half>);
  m.def("bf16", &run<__nv_bfloat16>);
  m.def("tf32", &run<spcolor::prim::Tf32>);
  PLANTED(missing_init_barrier);
  PLANTED(missing_copy_wait);
  PLANTED(wrong_parity);
  PLANTED(wrong_expected_bytes);
  PLANTED(unaligned_destination);
  PLANTED(missing_product_wait);
  PLANTED(missing_product_fence);
  PLANTED(operand_reused_too_early);
  PLANTED(missing_proxy_fence);
  PLANTED(returns_before_copy);
}
