// From gradients of unit vectors, in class order, to those of the features at their positions.
#pragma once

#include "unit_vectors.cuh"

namespace spcolor {

// One side's gradients and what belongs to them.
template <class T>
struct SideGradient {
  T* grad;              // [B, N, Cp] of the unit vectors, in class order; overwritten
  const T* unit;        // [B, N, Cp]
  const T* scale;       // [B, N]
  T* means;             // [B, K, C], where centred
  Positions positions;  // of N
  Positions other;      // of the other side
  void* features;       // [B, N, C], contiguous; null: not wanted
};

template <class T>
struct UnitVectorsBackwardTask {
  SideGradient<T> query, key;
  int images, channels, padded_channels;
  int mean_channels;  // of a block's slice
  bool center, normalize;

  __device__ const SideGradient<T>& side(int z) const { return z == 0 ? query : key; }
};

// Whether the class is on both sides. All other rows have no gradient, whatever they hold.
template <class T>
__device__ inline bool is_related(const SideGradient<T>& side, int64_t image, int segment) {
  return segment < side.positions.classes && side.other.range(image, segment).size() > 0;
}

// Warps: one row each. Takes the gradient through the normalisation: grad = scale * grad, less its
// part along the unit vector. Centred, it stays in place until its class's mean is known.
template <class E>
__global__ void __launch_bounds__(vector_threads)
    normalize_backward_kernel(UnitVectorsBackwardTask<Sum<E>> task) {
  using T = Sum<E>;
  const SideGradient<T>& side = task.side(blockIdx.z);
  const int lane = threadIdx.x % 32, rank = blockIdx.x * vector_warps + threadIdx.x / 32;
  const int64_t image = blockIdx.y;
  if (!side.features || rank >= side.positions.length) return;
  const int64_t row = image * side.positions.length + rank;
  T* grad = side.grad + row * task.padded_channels;
  const T* unit = side.unit + row * task.padded_channels;
  const bool has_gradient = is_related(side, image, side.positions.segment_of(image, rank));
  const T scale = has_gradient ? side.scale[row] : T(0);
  T along = 0;
  if (task.normalize && scale != 0) {
    for (int c = lane; c < task.channels; c += 32) along += unit[c] * (scale * grad[c]);
    along = warp_sum(along);
  }
  E* to = static_cast<E*>(side.features) +
          (image * side.positions.length + side.positions.position(image, rank)) * task.channels;
  for (int c = lane; c < task.channels; c += 32) {
    T x = scale == 0 ? T(0) : scale * grad[c];
    if (task.normalize && scale != 0) x -= unit[c] * along;
    if (task.center)
      grad[c] = x;
    else
      to[c] = E(x);
  }
}

template <class T>
__global__ void __launch_bounds__(vector_threads, 2)
    mean_gradients_kernel(UnitVectorsBackwardTask<T> task) {
  const SideGradient<T>& side = task.side(blockIdx.z);
  if (!side.features) return;
  Positions ranks = side.positions;
  ranks.order = nullptr;
  const int64_t pitch = task.padded_channels;
  const Source source{side.grad,
                      sizeof(T) == 8 ? Element::float64 : Element::float32,
                      pitch * ranks.length,
                      pitch,
                      1,
                      task.channels};
  mean_of_class<T>(source, task.channels % row_chunk<T> == 0, task.mean_channels, ranks,
                   side.means);
}

// Warps: one row each. Subtracting the mean of a class takes the mean of its gradients away.
template <class E>
__global__ void __launch_bounds__(vector_threads)
    center_backward_kernel(UnitVectorsBackwardTask<Sum<E>> task) {
  using T = Sum<E>;
  const SideGradient<T>& side = task.side(blockIdx.z);
  const int lane = threadIdx.x % 32, rank = blockIdx.x * vector_warps + threadIdx.x / 32;
  const int64_t image = blockIdx.y;
  if (!side.features || rank >= side.positions.length) return;
  const int segment = side.positions.segment_of(image, rank);
  const bool has_gradient = is_related(side, image, segment);
  const T* grad =
      side.grad + (image * side.positions.length + rank) * int64_t(task.padded_channels);
  const T* mean = side.means + (image * side.positions.classes + segment) * task.channels;
  E* to = static_cast<E*>(side.features) +
          (image * side.positions.length + side.positions.position(image, rank)) * task.channels;
  for (int c = lane; c < task.channels; c += 32) to[c] = E(has_gradient ? grad[c] - mean[c] : T(0));
}

template <class E>
void launch_unit_vectors_backward(const UnitVectorsBackwardTask<Sum<E>>& task,
                                  cudaStream_t stream) {
  if (!task.query.features && !task.key.features) return;
  const Positions &query = task.query.positions, &key = task.key.positions;
  const int64_t length = query.length > key.length ? query.length : key.length;
  const dim3 rows(unsigned(ceil_div(length, vector_warps)), task.images, 2), block(vector_threads);
  SPCOLOR_LAUNCH(normalize_backward_kernel<E>, rows, block, 0, stream, task);
  if (!task.center) return;
  const int64_t slices = ceil_div(task.channels, task.mean_channels) * query.classes;
  SPCOLOR_LAUNCH(mean_gradients_kernel<Sum<E>>, dim3(unsigned(slices), task.images, 2), block, 0,
                 stream, task);
  SPCOLOR_LAUNCH(center_backward_kernel<E>, rows, block, 0, stream, task);
}

}  // namespace spcolor
