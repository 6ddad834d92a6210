// What correspondence_cpu and its backward share: checked arguments and packed values.
#pragma once

#include <cmath>

#include "inputs.h"

namespace spcolor {

constexpr double log2_e = 1.4426950408889634;

struct CorrespondenceInputs : MatchingInputs {
  std::optional<Source> value;  // [B, M, D]
  double temperature;           // NaN unless above 0
  int64_t D;

  CorrespondenceInputs(const Tensor& q, const Tensor& k, const Optional& v,
                       const Optional& query_order, const Tensor& q_offsets,
                       const Optional& key_order, const Tensor& k_offsets, const Tensor& tau,
                       bool center, bool normalize, const std::string& precision)
      : MatchingInputs(q, k, query_order, q_offsets, key_order, k_offsets, center, normalize,
                       precision) {
    if (v) {
      SPCOLOR_CHECK(v->dim() == 3, "value: expected shape [B, M, D], got ", shape_of(*v));
      check_shape("value", *v, {B, M, v->size(2)});
      value = Source{"value", *v, key.order};
    }
    D = v ? v->size(2) : 0;
    SPCOLOR_CHECK(tau.numel() == 1, "temperature: expected one element, got ", shape_of(tau));
    check_dtype("temperature", tau, accumulation());
    temperature = is_double() ? *tau.const_data_ptr<double>() : *tau.const_data_ptr<float>();
    if (!(temperature > 0)) temperature = std::nan("");
  }
};

// Values of a batch in panels like the keys'.
template <class T>
Buffer<T> pack_values(const CorrespondenceInputs& in, const Batch& batch,
                      const Kernels<T>& kernels) {
  const std::vector<Chunk> chunks = chunks_of(batch, Side::key, chunk_rows);
  const int64_t count = int64_t(chunks.size());
  const int64_t scratch_size = kernels.key_width * (in.D + pack_padding);
  const Buffer<T> scratch(workers_for(count) * scratch_size);
  Buffer<T> panels(batch.key_slots * in.D);
  run_tasks(count, [&](int64_t task, int64_t worker) {
    const Chunk& chunk = chunks[task];
    const ClassRows group = rows_of(batch.list[chunk.group], Side::key);
    PackTask<T> pack{};
    pack.source = in.value->positions(group.image, group.rank + chunk.begin);
    pack.count = chunk.count;
    pack.channels = in.D;
    pack.width = kernels.key_width;
    pack.panels = panels.get() + (group.slot + chunk.begin) * in.D;
    pack.scratch = scratch.get() + worker * scratch_size;
    kernels.pack_values(pack);
  });
  return panels;
}

}  // namespace spcolor
