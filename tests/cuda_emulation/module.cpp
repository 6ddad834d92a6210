// The Python module beside the operators of csrc/cuda, which register themselves.
#include "python.h"

PYBIND11_MODULE(EMULATED_MODULE, m) { emulator::add_to(m); }
