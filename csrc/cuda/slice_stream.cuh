// The pipeline between global memory and the products: a ring of slices in shared memory.
#pragma once

#include "product.cuh"

namespace spcolor {

constexpr int stages = 3;

// Which slices of each tile pass through the ring: 0..slices in order and after them, for a
// backward, `again` slices from first_again on.
struct SlicePlan {
  int slices, first_again, again;
  bool resident;  // the left-hand rows stay in shared memory
};

// Streams the right-hand rows of a class tile by tile, each tile slice by slice, two slices ahead
// of their use. The left-hand rows of the block's own tile stay in shared memory if they fit;
// otherwise their slices travel with the others.
template <int left_rows, int right_rows, int threads>
class SliceStream {
 public:
  // `limit`: bytes of shared memory.
  static SlicePlan plan(int slices, size_t limit) {
    const SlicePlan resident{slices, 0, 0, true};
    return bytes(resident) <= limit ? resident : SlicePlan{slices, 0, 0, false};
  }

  __host__ __device__ static size_t bytes(const SlicePlan& plan) {
    return plan.resident ? plan.slices * left_bytes + stages * right_bytes
                         : stages * (left_bytes + right_bytes);
  }

  // Streams tiles first_tile..end_tile of the right-hand rows.
  __device__ SliceStream(unsigned char* memory, const SlicePlan& plan, const Rows& left,
                         const Rows& right, int first_tile, int end_tile)
      : plan_(plan),
        left_(left),
        right_(right),
        memory_(memory),
        ring_(memory + (plan.resident ? plan.slices * left_bytes : 0)),
        end_tile_(end_tile),
        load_{first_tile, 0, 0},
        use_{first_tile, -1, stages - 1} {
    if (plan.resident)
      for (int slice = 0; slice < plan.slices; ++slice)
        left_.start(memory + slice * left_bytes, 0, slice);
    for (int stage = 0; stage < stages - 1; ++stage) load_next();
  }

  // Makes the next slice the current one: it has arrived, and all threads are done with the one
  // before, whose place the slice after next takes.
  __device__ void next() {
    advance(use_);
    prim::cp_async_wait<stages - 2>();
    __syncthreads();
    load_next();
  }

  __device__ const unsigned char* left() const {
    return plan_.resident ? memory_ + use_.slice * left_bytes : slot(use_) + right_bytes;
  }
  __device__ const unsigned char* right() const { return slot(use_); }

 private:
  static constexpr size_t left_bytes = left_rows * slice_bytes;
  static constexpr size_t right_bytes = right_rows * slice_bytes;

  struct Cursor {
    int tile, slice, slot;
  };

  __device__ void advance(Cursor& cursor) const {
    cursor.slot = cursor.slot == stages - 1 ? 0 : cursor.slot + 1;
    if (++cursor.slice == plan_.slices + plan_.again) cursor.slice = 0, ++cursor.tile;
  }

  __device__ unsigned char* slot(const Cursor& cursor) const {
    return ring_ + cursor.slot * (plan_.resident ? right_bytes : left_bytes + right_bytes);
  }

  __device__ void load_next() {
    if (load_.tile < end_tile_) {
      const bool is_again = load_.slice >= plan_.slices;
      const int slice = is_again ? plan_.first_again + load_.slice - plan_.slices : load_.slice;
      right_.start(slot(load_), load_.tile * right_rows, slice);
      if (!plan_.resident && !is_again) left_.start(slot(load_) + right_bytes, 0, slice);
    }
    prim::cp_async_commit();  // an empty group at the end keeps the count of those in flight
    advance(load_);
  }

  const SlicePlan plan_;
  const SliceCopy<left_rows, threads> left_;
  const SliceCopy<right_rows, threads> right_;
  unsigned char *const memory_, *const ring_;
  const int end_tile_;
  Cursor load_, use_;
};

}  // namespace spcolor
