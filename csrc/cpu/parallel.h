// Work sharing whose result does not depend on the number of threads: tasks are cut by shape, each
// writes its own output, and threads take the next task as they become free.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include <torch/csrc/stable/ops.h>

namespace spcolor {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// How many workers run_tasks(count, ...) uses: their scratch is theirs alone.
inline int64_t workers_for(int64_t count) {
  return std::max<int64_t>(1, std::min<int64_t>(torch::stable::get_num_threads(), count));
}

// Calls body(task, worker) once for every task in 0..count-1, in rising order per worker.
template <class Body>
void run_tasks(int64_t count, const Body& body) {
  if (count == 0) return;
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, workers_for(count), 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker)
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;)
        body(task, worker);
  });
}

// Uninitialised memory on a cache line.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) {
    constexpr size_t line = 64;
    const size_t bytes = round_up(size * int64_t(sizeof(T)) + 1, line);
    data_.reset(static_cast<T*>(std::aligned_alloc(line, bytes)));
    if (!data_) throw std::bad_alloc();
  }
  Buffer(int64_t size, T value) : Buffer(size) { std::fill_n(data_.get(), size, value); }

  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
};

}  // namespace spcolor
