// The kernels for any processor, in 16-byte vectors.
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "kernels.h"

#define SPCOLOR_VECTOR_BYTES 16
#define SPCOLOR_LEVEL_NAME "portable"

namespace spcolor::portable {
#include "kernels.inl"
}
