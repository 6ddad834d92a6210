// The forward kernel for Hopper (sm_90a) and 16-bit rows: what correspondence_forward.cuh computes,
// with TMA and wgmma.
//
// One warpgroup is the producer, of which one thread works: it streams slices of the keys through a
// ring in shared memory, in which mbarriers count what has arrived and what is free again. The
// others are consumers, each of 64 queries, and take the producer's registers. Two consumers take
// turns: while the tensor cores multiply a tile of keys for one of them, the other takes the
// softmax of its own scores. For small classes, whose blocks mostly wait, one consumer makes blocks
// of which a multiprocessor has two.
#pragma once

#include "correspondence_tile.cuh"
#include "prim_hopper.cuh"

namespace spcolor {

constexpr int hopper_keys = 128, warpgroup_threads = 128;
constexpr int key_slice_bytes = hopper_keys * slice_bytes;
static_assert(hopper_keys == 128);  // of prim::wgmma_m64n128

// A block with so many consumers.
template <int consumers>
struct HopperBlock {
  static constexpr int queries = 64 * consumers, query_slice_bytes = queries * slice_bytes;
  static constexpr int consumer_threads = consumers * warpgroup_threads;
  static constexpr int threads = consumer_threads + warpgroup_threads;
  static constexpr int of_multiprocessor = consumers == 1 ? 2 : 1;
  // All have 168 (one consumer: 128) at the start; those of a warp of each warpgroup share 512
  // (256).
  static constexpr int producer_registers = 24, consumer_registers = consumers == 1 ? 232 : 240;
};

// Shared memory: all slices of the queries, the ring of slices of keys, the barriers.
struct HopperPlan {
  int slices, stages;
  bool is_possible;
  size_t bytes;

  // As many stages as fit, up to two tiles.
  template <class Block>
  static HopperPlan of(Block, int slices, int shared_limit) {
    constexpr int barrier = sizeof(prim::Mbarrier);
    const int limit = shared_limit / Block::of_multiprocessor - reserved;
    const int free = limit - slices * Block::query_slice_bytes - barrier;
    const int fit = free / (key_slice_bytes + 2 * barrier);
    const int stages = fit < 2 * slices ? fit : 2 * slices;
    // A consumer frees a tile as a whole, and a second one begins with it when the first is done.
    const int least = slices + (Block::of_multiprocessor == 1 ? 1 : 0);
    return {slices, stages, stages >= least,
            size_t(slices) * Block::query_slice_bytes + size_t(stages) * key_slice_bytes +
                (1 + 2 * stages) * barrier};
  }

 private:
  static constexpr int reserved = 4096;  // of the system and of what is declared
};

// A place in the ring, and the parity of the phase in which its barriers are.
struct RingCursor {
  int stage = 0;
  unsigned parity = 0;

  __device__ void advance(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

// The ring as both sides see it.
template <class Block>
struct HopperStream {
  HopperPlan plan;
  unsigned char *query, *ring;
  prim::Mbarrier *query_full, *full, *empty;

  __device__ HopperStream(unsigned char* memory, const HopperPlan& plan)
      : plan(plan), query(memory), ring(memory + plan.slices * Block::query_slice_bytes) {
    query_full = reinterpret_cast<prim::Mbarrier*>(ring + plan.stages * key_slice_bytes);
    full = query_full + 1;
    empty = full + plan.stages;
  }

  __device__ void initialise() const {
    prim::mbarrier_init(query_full, 1);
    for (int stage = 0; stage < plan.stages; ++stage) {
      prim::mbarrier_init(full + stage, 1);
      prim::mbarrier_init(empty + stage, Block::consumer_threads / 32);
    }
    prim::mbarrier_init_fence();
  }

  // By one thread: all slices of the queries, then those of `tiles` tiles of keys.
  __device__ void produce(const prim::TensorMap& queries, const prim::TensorMap& keys,
                          int first_query, int first_key, int tiles) const {
    prim::mbarrier_arrive_expect(query_full, plan.slices * Block::query_slice_bytes);
    for (int slice = 0; slice < plan.slices; ++slice)
      prim::tma_load(query + slice * Block::query_slice_bytes, queries, query_full,
                     slice * slice_bytes, first_query);
    RingCursor at;
    for (int tile = 0; tile < tiles; ++tile)
      for (int slice = 0; slice < plan.slices; ++slice) {
        prim::mbarrier_wait(empty + at.stage, at.parity ^ 1);
        prim::mbarrier_arrive_expect(full + at.stage, key_slice_bytes);
        prim::tma_load(ring + at.stage * key_slice_bytes, keys, full + at.stage,
                       slice * slice_bytes, first_key + tile * hopper_keys);
        at.advance(plan.stages);
      }
  }
};

// One warpgroup's products.
template <class E, int consumers>
struct HopperConsumer {
  using Block = HopperBlock<consumers>;
  const HopperStream<Block>& stream;
  int warpgroup;
  uint64_t query;  // descriptor of its 64 rows
  RingCursor next, oldest;

  __device__ HopperConsumer(const HopperStream<Block>& stream, int warpgroup)
      : stream(stream), warpgroup(warpgroup) {
    query = prim::matrix_descriptor(stream.query + warpgroup * 64 * slice_bytes);
    if (warpgroup == 1) pass_turn();
    prim::mbarrier_wait(stream.query_full, 0);
  }

  // scores = products with the next tile. That the first step sets them is known at compile time,
  // or the compiler would have to wait for each step.
  __device__ void multiply_tile(float (&scores)[16][4], bool is_last) {
    const int slices = stream.plan.slices;
    prim::keep_in_registers(scores);
    if constexpr (consumers > 1)
      prim::barrier_sync(turn_barrier(warpgroup), Block::consumer_threads);
    multiply<true>(scores, 0);
    // Its 256 cycles of products hide what a turn of the loop costs.
#pragma unroll 1
    for (int slice = 1; slice < slices; ++slice) multiply<false>(scores, slice);
    prim::wgmma_wait<1>();
    // The other's products follow while the last slice is multiplied.
    if (warpgroup == 0 || !is_last) pass_turn();
    for (int slice = 1; slice < slices; ++slice) release();
    prim::wgmma_wait<0>();
    release();
    prim::keep_in_registers(scores);
  }

 private:
  static __device__ unsigned turn_barrier(int warpgroup) { return 2 + warpgroup; }

  __device__ void pass_turn() const {
    if constexpr (consumers > 1)
      prim::barrier_arrive(turn_barrier(1 - warpgroup), Block::consumer_threads);
  }

  template <bool is_first>
  __device__ void multiply(float (&scores)[16][4], int slice) {
    prim::mbarrier_wait(stream.full + next.stage, next.parity);
    prim::wgmma_fence();
    const uint64_t left = query + slice * (Block::query_slice_bytes >> 4);
    const uint64_t right = prim::matrix_descriptor(stream.ring + next.stage * key_slice_bytes);
#pragma unroll
    for (int step = 0; step < slice_bytes / 32; ++step)
      prim::wgmma_m64n128<E>(scores, left + 2 * step, right + 2 * step, !is_first || step > 0);
    prim::wgmma_commit();
    next.advance(stream.plan.stages);
  }

  __device__ void release() {
    if (lane_id() == 0) prim::mbarrier_arrive(stream.empty + oldest.stage);
    oldest.advance(stream.plan.stages);
  }
};

__device__ inline int uniform(int x) { return __shfl_sync(~0u, x, 0); }

// Blocks as in forward_kernel, each of 64 queries for every consumer. E: type of the packed rows.
template <class E, int DV, int consumers>
__global__ void __launch_bounds__(HopperBlock<consumers>::threads,
                                  HopperBlock<consumers>::of_multiprocessor)
    hopper_forward_kernel(ForwardTask<float> task, HopperPlan plan,
                          const __grid_constant__ prim::TensorMap query_map,
                          const __grid_constant__ prim::TensorMap key_map) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Block = HopperBlock<consumers>;
  SPCOLOR_SHARED(unsigned char, memory);
  const TileWork<float, DV> work(task, Block::queries, hopper_keys);
  if (!work.begin()) return;
  const HopperStream<Block> stream(memory, plan);
  if (threadIdx.x == 0) stream.initialise();
  __syncthreads();

  // Through shuffles, so that the compiler knows that no warp diverges.
  const int warpgroup = uniform(threadIdx.x / warpgroup_threads);
  const int first_tile = uniform(work.first_tile), end_tile = uniform(work.end_tile);
  const int first_row = threadIdx.x / 32 * 16;  // of this warp
  const float log2_scale = task.temperature.log2_scale();
  if (warpgroup == consumers) {
    prim::give_registers_back<Block::producer_registers>();
    if (threadIdx.x == Block::consumer_threads)
      stream.produce(query_map, key_map, int(work.first_query),
                     int(work.first_key) + first_tile * hopper_keys, end_tile - first_tile);
    return;
  }
  prim::take_registers<Block::consumer_registers>();
  HopperConsumer<E, consumers> consumer(stream, warpgroup);
  RowState<float, 2, DV> state;
  for_each_tile(first_tile, end_tile, uniform(work.full_tiles), [&](int tile, auto is_partial) {
    constexpr bool partial = decltype(is_partial)::value;
    float scores[1][hopper_keys / 8][4];
    consumer.multiply_tile(scores[0], tile + 1 == end_tile);
    work.template add<partial>(state, scores, tile, first_row, log2_scale);
  });
  work.template finish<2>(state, first_row, log2_scale, Block::consumer_threads);
#else
  __trap();
#endif
}

template <class E, int DV, int consumers>
void launch_hopper_forward(const ForwardTask<float>& task, int slices, int shared_limit, int chunks,
                           cudaStream_t stream) {
  using Block = HopperBlock<consumers>;
  const HopperPlan plan = HopperPlan::of(Block{}, slices, shared_limit);
  const auto map_of = [&](const PackedSide<float>& side, int box_rows) {
    return prim::make_tensor_map(side.rows, side.pitch,
                                 uint64_t(task.images) * side.positions.length, box_rows);
  };
  const prim::TensorMap query_map = map_of(task.query, Block::queries);
  const prim::TensorMap key_map = map_of(task.key, hopper_keys);
  const unsigned tiles = most_tiles(task.query.positions, Block::queries);
  SPCOLOR_LAUNCH((hopper_forward_kernel<E, DV, consumers>),
                 dim3(tiles * task.partials.splits, chunks, task.images), dim3(Block::threads),
                 plan.bytes, stream, task, plan, query_map, key_map);
}

}  // namespace spcolor
