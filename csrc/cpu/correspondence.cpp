// correspondence_cpu: packing, tasks, and results back to their positions.
#include "correspondence.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

namespace spcolor {
namespace {

// Outputs of a forward, filled with what an unrelated position gets.
template <class T>
struct Outputs {
  Tensor warped, similarity, index, lse, log_mass;

  explicit Outputs(const CorrespondenceInputs& in)
      : warped(torch::stable::new_empty(in.query.tensor, {in.B, in.N, in.D}, in.accumulation())),
        similarity(torch::stable::new_empty(in.query.tensor, {in.B, in.N}, in.accumulation())),
        index(torch::stable::new_empty(in.query.tensor, {in.B, in.N}, ScalarType::Long)),
        lse(torch::stable::new_empty(in.query.tensor, {in.B, in.value ? in.N : 0},
                                     in.accumulation())),
        log_mass(torch::stable::new_empty(in.query.tensor, {in.B, in.value ? in.N : 0},
                                          in.accumulation())) {
    std::fill_n(warped.template mutable_data_ptr<T>(), warped.numel(), T(0));
    std::fill_n(similarity.template mutable_data_ptr<T>(), similarity.numel(), T(0));
    std::fill_n(index.template mutable_data_ptr<int64_t>(), index.numel(), int64_t(-1));
    std::fill_n(lse.template mutable_data_ptr<T>(), lse.numel(), -T(INFINITY));
    std::fill_n(log_mass.template mutable_data_ptr<T>(), log_mass.numel(), -T(INFINITY));
  }
};

// Result of one task's rows, in class order.
template <class T>
struct RowResults {
  T *maximum, *mass, *warped;  // [rows], [rows], [rows, D]
  int32_t* rank;               // [rows]
};

// Writes rows to their positions. Pointers are read once: a tensor gives them through its C
// interface.
template <class T>
class RowWriter {
 public:
  RowWriter(const CorrespondenceInputs& in, const Outputs<T>& out)
      : in_(in),
        warped_(out.warped.template mutable_data_ptr<T>()),
        similarity_(out.similarity.template mutable_data_ptr<T>()),
        lse_(out.lse.template mutable_data_ptr<T>()),
        log_mass_(out.log_mass.template mutable_data_ptr<T>()),
        index_(out.index.template mutable_data_ptr<int64_t>()),
        query_order_(in.query.order ? in.query.order->const_data_ptr<int32_t>() : nullptr),
        key_order_(in.key.order ? in.key.order->const_data_ptr<int32_t>() : nullptr) {}

  // Row `row` of class c is result r.
  void write(const RelatedClass& c, int64_t row, const RowResults<T>& results, int64_t r,
             bool is_spoiled) const {
    const int64_t query_at = c.image * in_.N + c.query_rank + row;
    const int64_t key_at = c.image * in_.M + c.key_rank + results.rank[r];
    const int64_t to = query_order_ ? c.image * in_.N + query_order_[query_at] : query_at;
    const T nan = T(std::nan(""));
    const T maximum = is_spoiled || !std::isfinite(results.maximum[r]) ? nan : results.maximum[r];
    similarity_[to] = maximum;
    index_[to] = key_order_ ? key_order_[key_at] : key_at - c.image * in_.M;
    if (!in_.value) return;
    const bool is_nan = std::isnan(maximum) || std::isnan(in_.temperature);
    log_mass_[to] = is_nan ? nan : std::log(results.mass[r]);
    lse_[to] = T(maximum / in_.temperature + log_mass_[to]);
    for (int64_t d = 0; d < in_.D; ++d)
      warped_[to * in_.D + d] = is_nan ? nan : results.warped[r * in_.D + d];
  }

 private:
  const CorrespondenceInputs& in_;
  T *warped_, *similarity_, *lse_, *log_mass_;
  int64_t* index_;
  const int32_t *query_order_, *key_order_;
};

constexpr int64_t least_task_rows = 48;  // a multiple of every query width

// Rows of a task at most: the more of them, the fewer times the keys come from memory, but their
// running sums should stay in the second-level cache.
template <class T>
int64_t most_task_rows(const Kernels<T>& kernels, int64_t D) {
  constexpr int64_t state_bytes = 128 * 1024, most = 384;
  const int64_t rows = state_bytes / ((1 + D) * kernels.lanes * int64_t(sizeof(T)));
  return std::clamp(rows / least_task_rows * least_task_rows, least_task_rows, most);
}

// The rows of every class in tasks that shrink towards its end, the longest first, so that all
// threads end together. Rows do not depend on each other, so their grouping changes no result.
inline std::vector<Chunk> forward_tasks(const Batch& batch, int64_t task_rows) {
  const int64_t shares = 4 * torch::stable::get_num_threads();
  std::vector<Chunk> tasks;
  for (int64_t g = 0; g < int64_t(batch.list.size()); ++g)
    for (int64_t begin = 0, n = batch.list[g].n; begin < n;) {
      const int64_t share = round_up(ceil_div(n - begin, shares), least_task_rows);
      const int64_t count = std::min(std::min(share, task_rows), n - begin);
      tasks.push_back({g, begin, count});
      begin += count;
    }
  std::stable_sort(tasks.begin(), tasks.end(), [&](const Chunk& a, const Chunk& b) {
    return a.count * batch.list[a.group].m > b.count * batch.list[b.group].m;
  });
  return tasks;
}

template <class T>
void forward(const CorrespondenceInputs& in, const Batch& batch, const Kernels<T>& kernels,
             const RowWriter<T>& writer) {
  const UnitVectors<T> query(in.query, Side::query, batch, kernels, in.center, in.normalize, false);
  const UnitVectors<T> key(in.key, Side::key, batch, kernels, in.center, in.normalize, false);
  const Buffer<T> value = in.value ? pack_values<T>(in, batch, kernels) : Buffer<T>();

  const int64_t task_rows = most_task_rows<T>(kernels, in.D);
  const std::vector<Chunk> tasks = forward_tasks(batch, task_rows);
  const int64_t count = int64_t(tasks.size());
  const int64_t state_size = task_rows * ((1 + in.D) * kernels.lanes + 4);
  const int64_t scratch_size = round_up(state_size + task_rows * (3 + in.D), row_alignment);
  const Buffer<T> scratch(workers_for(count) * scratch_size);
  run_tasks(count, [&](int64_t task, int64_t worker) {
    const Chunk& chunk = tasks[task];
    const RelatedClass& c = batch.list[chunk.group];
    T* state = scratch.get() + worker * scratch_size;
    T* results = state + state_size;
    const RowResults<T> rows{results, results + task_rows, results + 3 * task_rows,
                             reinterpret_cast<int32_t*>(results + 2 * task_rows)};
    kernels.forward({query.panels.get() + (c.query_slot + chunk.begin) * query.C,
                     key.panels.get() + c.key_slot * key.C,
                     in.value ? value.get() + c.key_slot * in.D : nullptr, chunk.count, c.m,
                     query.C, in.D, T(log2_e / in.temperature), rows.maximum, rows.rank, rows.mass,
                     rows.warped, state});
    const bool key_is_spoiled = key.is_spoiled(c);
    for (int64_t r = 0; r < chunk.count; ++r)
      writer.write(c, chunk.begin + r, rows, r,
                   key_is_spoiled || std::isnan(query.scale[c.query_row + chunk.begin + r]));
  });
}

template <class T>
Outputs<T> forward(const CorrespondenceInputs& in) {
  const Kernels<T>& kernels = spcolor::kernels<T>();
  const Outputs<T> out(in);
  const RowWriter<T> writer(in, out);
  in.batches(kernels).run([&](const Batch& batch) { forward(in, batch, kernels, writer); });
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> correspondence(
    const Tensor& query,          // [B, N, C]
    const Tensor& key,            // [B, M, C]
    const Optional& value,        // [B, M, D]
    const Optional& query_order,  // [B, N]
    const Tensor& query_offsets,  // [B, K + 1]
    const Optional& key_order,    // [B, M]
    const Tensor& key_offsets,    // [B, K + 1]
    const Tensor& temperature,    // []
    bool center, bool normalize, const std::string& precision, bool /*deterministic: always*/) {
  const CorrespondenceInputs in(query, key, value, query_order, query_offsets, key_order,
                                key_offsets, temperature, center, normalize, precision);
  const auto pack = [](const auto& out) {
    return std::make_tuple(out.warped, out.similarity, out.index, out.lse, out.log_mass);
  };
  return in.is_double() ? pack(forward<double>(in)) : pack(forward<float>(in));
}

}  // namespace
}  // namespace spcolor

STABLE_TORCH_LIBRARY_IMPL(spcolor_ops, CPU, m) {
  m.impl("correspondence_cpu", TORCH_BOX(&spcolor::correspondence));
}
