// segment_layout on the device: a stable counting sort of every image's positions by class.
//
// One block for each image of each side. Each of its warps has a run of positions: it counts their
// labels, a scan over classes and warps says where each one's positions go, and it looks at its
// labels again to put them there. No atomics, no workspace, and the same order in every run. More
// classes than shared memory has counters for take another round over the labels.
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

constexpr int layout_warps = 32, layout_threads = layout_warps * 32;
constexpr int layout_classes = 255;  // of one round
constexpr int labels_at_once = 8;    // that a lane asks for before it needs the first

// One round over the labels of one image, of the classes first_class.. of which there are `count`;
// class number `classes` is that of no class.
template <class Label>
struct LayoutRound {
  const LayoutTask& task;
  const Label* labels;
  int classes, first_class, count;
  int (&counts)[layout_classes][layout_warps];

  __device__ int class_of(int position) const {
    if (position >= task.length) return -1;
    const Label label = labels[position * task.position_stride];
    return (0 <= label && label < classes ? int(label) : classes) - first_class;
  }

  // f(position, class, lanes of the same class) for the positions of this warp, 32 at a time in
  // their order; once for each group of lanes, the counter of the class grows by their number.
  template <class F>
  __device__ void for_each(const F& f) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int span = int(ceil_div(task.length, layout_threads)) * 32, begin = warp * span;
    for (int base = begin; base < begin + span; base += labels_at_once * 32) {
      int of_label[labels_at_once];
#pragma unroll
      for (int i = 0; i < labels_at_once; ++i) {
        const int offset = i * 32 + lane;
        of_label[i] = base + offset < begin + span ? class_of(base + offset) : -1;
      }
#pragma unroll
      for (int i = 0; i < labels_at_once; ++i) {
        const int own = of_label[i];
        const bool is_counted = 0 <= own && own < count;
        const unsigned peers = lanes_like(is_counted, own);
        if (is_counted) f(base + i * 32 + lane, own, peers);
        __syncwarp();
        if (is_counted && lane == __ffs(peers) - 1) counts[own][warp] += __popc(peers);
        __syncwarp();
      }
    }
  }

  // counts [class][warp] become the numbers of positions of warps before, totals those of all.
  __device__ void scan_warps(int (&totals)[layout_classes]) const {
    const int lane = threadIdx.x % 32;
    for (int c = threadIdx.x / 32; c < count; c += layout_warps) {
      const int own = counts[c][lane], sum = scan(own);
      counts[c][lane] = sum - own;
      if (lane == 31) totals[c] = sum;
    }
  }

  // totals become the ranks at which the classes begin, from `rank` on. By one warp; returns the
  // rank after the last class.
  __device__ int scan_classes(int (&totals)[layout_classes], int rank, int32_t* offsets) const {
    const int lane = threadIdx.x % 32;
    for (int base = 0; base < count; base += 32) {
      const int c = base + lane, own = c < count ? totals[c] : 0, sum = scan(own);
      if (c < count) offsets[first_class + c] = totals[c] = rank + sum - own;
      rank += __shfl_sync(~0u, sum, 31);
    }
    return rank;
  }

 private:
  __device__ unsigned lanes_like(bool is_counted, int own) const {
    unsigned peers = __ballot_sync(~0u, is_counted);
    for (int bit = 1; bit < count; bit *= 2) {
      const unsigned ones = __ballot_sync(~0u, (own & bit) != 0);
      peers &= own & bit ? ones : ~ones;
    }
    return peers;
  }

  static __device__ int scan(int sum) {
    for (int step = 1; step < 32; step *= 2) {
      const int below = __shfl_up_sync(~0u, sum, step);
      if (int(threadIdx.x % 32) >= step) sum += below;
    }
    return sum;
  }
};

template <class Label>
__global__ void __launch_bounds__(layout_threads) layout_kernel(LayoutTasks tasks) {
  __shared__ int counts[layout_classes][layout_warps], totals[layout_classes], next_rank;
  const LayoutTask task = tasks.side(blockIdx.y);
  const int64_t image = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, buckets = tasks.classes + 1;
  const Label* labels = static_cast<const Label*>(task.labels) + image * task.image_stride;
  int32_t* order = task.order + image * task.length;
  int32_t* inverse = task.inverse + image * task.length;
  int rank = 0;
  for (int first_class = 0; first_class < buckets; first_class += layout_classes) {
    const int left = buckets - first_class, count = left < layout_classes ? left : layout_classes;
    const LayoutRound<Label> round{task, labels, tasks.classes, first_class, count, counts};
    for (int c = warp; c < count; c += layout_warps) counts[c][lane] = 0;
    __syncthreads();
    round.for_each([](int, int, unsigned) {});
    __syncthreads();
    round.scan_warps(totals);
    __syncthreads();
    if (warp == 0) {
      const int end = round.scan_classes(totals, rank, task.offsets + image * buckets);
      if (lane == 0) next_rank = end;
    }
    __syncthreads();
    rank = next_rank;
    round.for_each([&](int position, int c, unsigned peers) {
      const int before = __popc(peers & ((1u << lane) - 1));
      const int to = totals[c] + counts[c][warp] + before;
      order[to] = position;
      inverse[position] = to;
    });
    __syncthreads();
  }
}

template <class Label>
void launch_layout(const LayoutTasks& tasks, cudaStream_t stream) {
  if (tasks.images == 0) return;
  SPCOLOR_LAUNCH(layout_kernel<Label>, dim3(tasks.images, tasks.count), dim3(layout_threads), 0,
                 stream, tasks);
}

}  // namespace spcolor
