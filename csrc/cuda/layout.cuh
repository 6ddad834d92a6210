// segment_layout on the device: a stable counting sort of every image's positions by class.
//
// One block for each class of each image, "no class" among them. A block counts the labels of lower
// classes, which is where its class begins, and then ranks its own positions by prefix sums: no
// atomics, no workspace, and the same order whichever block runs first. Labels are read K times,
// from the second-level cache. Queries and keys are sorted by one launch.
#pragma once

#include "positions.cuh"

namespace spcolor {

struct LayoutTask {
  const void* labels;  // [B, N] int32 or int64
  int64_t image_stride, position_stride;
  int length;
  int32_t *order, *inverse;  // [B, N]
  int32_t* offsets;          // [B, K + 1]
};

struct LayoutTasks {
  LayoutTask first, second;
  int count;  // 1 or 2
  int images, classes;

  __device__ LayoutTask side(int z) const { return z == 0 ? first : second; }
};

constexpr int layout_threads = 512;

template <class Label>
__device__ inline int bucket(Label label, int classes) {
  return 0 <= label && label < classes ? int(label) : classes;
}

template <class Label>
__global__ void __launch_bounds__(layout_threads) layout_kernel(LayoutTasks tasks) {
  const LayoutTask task = tasks.side(blockIdx.z);
  const int classes = tasks.classes;
  constexpr int warps = layout_threads / 32;
  __shared__ int counts[warps];
  const int segment = blockIdx.x, thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int64_t image = blockIdx.y;
  const Label* labels = static_cast<const Label*>(task.labels) + image * task.image_stride;
  const auto label = [&](int i) { return bucket(labels[i * task.position_stride], classes); };

  int lower = 0;
  for (int i = thread; i < task.length; i += layout_threads) lower += label(i) < segment;
  for (int step = 16; step > 0; step /= 2) lower += __shfl_xor_sync(~0u, lower, step);
  if (lane == 0) counts[warp] = lower;
  __syncthreads();
  int rank = 0;  // of the class's next position
  for (int w = 0; w < warps; ++w) rank += counts[w];
  if (thread == 0) task.offsets[image * (classes + 1) + segment] = rank;

  for (int base = 0; base < task.length; base += layout_threads) {
    const int i = base + thread;
    const bool is_own = i < task.length && label(i) == segment;
    const unsigned own = __ballot_sync(~0u, is_own);
    __syncthreads();  // the counts of the round before are read
    if (lane == 0) counts[warp] = __popc(own);
    __syncthreads();
    int before = __popc(own & ((1u << lane) - 1)), total = 0;
    for (int w = 0; w < warps; ++w) {
      before += w < warp ? counts[w] : 0;
      total += counts[w];
    }
    if (is_own) {
      task.order[image * task.length + rank + before] = i;
      task.inverse[image * task.length + i] = rank + before;
    }
    rank += total;
  }
}

template <class Label>
void launch_layout(const LayoutTasks& tasks, cudaStream_t stream) {
  if (tasks.images == 0) return;
  SPCOLOR_LAUNCH(layout_kernel<Label>, dim3(tasks.classes + 1, tasks.images, tasks.count),
                 dim3(layout_threads), 0, stream, tasks);
}

}  // namespace spcolor
