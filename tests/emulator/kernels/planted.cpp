#include "planted.cuh"

#include "python.h"

using Array = pybind11::array_t<float, pybind11::array::c_style>;

#define PLANTED(kernel, blocks)                                                                \
  m.def(#kernel, [](Array in, Array out, bool right) {                                         \
    emulator::take_back();                                                                     \
    const float* input = emulator::device(in);                                                 \
    float* output = emulator::device(out);                                                     \
    const size_t shared_bytes = 2 * planted::threads * sizeof(float);                          \
    const auto chosen = right ? planted::kernel<true> : planted::kernel<false>;                \
    SPCOLOR_LAUNCH(chosen, dim3(blocks), dim3(planted::threads), shared_bytes, nullptr, input, \
                   output);                                                                    \
  })

PYBIND11_MODULE(EMULATED_MODULE, m) {
  emulator::add_to(m);
  PLANTED(missing_barrier, 1);
  PLANTED(missing_syncwarp, 1);
  PLANTED(missing_copy_wait, 1);
  PLANTED(buffer_reused_too_early, 1);
  PLANTED(returns_before_copy, 1);
  PLANTED(shared_read_out_of_bounds, 1);
  PLANTED(shared_write_out_of_bounds, 1);
  PLANTED(global_read_out_of_bounds, 1);
  PLANTED(global_write_out_of_bounds, 1);
  PLANTED(read_before_write, 1);
  PLANTED(lost_update, 1);
  PLANTED(lost_update_between_blocks, 2);
  PLANTED(divergent_barrier, 1);
  PLANTED(barrier_of_some_threads, 1);
  PLANTED(wrong_barrier_count, 1);
  PLANTED(missing_lanes, 1);
  PLANTED(lane_outside_of_mask, 1);
  PLANTED(unaligned_matrix, 1);
}
