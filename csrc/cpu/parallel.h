// Work sharing whose result does not depend on the number of threads: tasks are cut by shape, each
// writes its own output, and threads take the next task as they become free.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace spcolor {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Whether this thread is working on a task: what the task runs in turn, it runs alone.
inline bool& inside_task() {
  thread_local bool inside = false;
  return inside;
}

class TaskScope {
 public:
  TaskScope() { inside_task() = true; }
  ~TaskScope() { inside_task() = false; }
};

// How many workers run_tasks(count, ...) uses: their scratch is theirs alone.
inline int64_t workers_for(int64_t count) {
  if (inside_task()) return 1;
  return std::max<int64_t>(1, std::min<int64_t>(torch::stable::get_num_threads(), count));
}

// Calls body(task, worker) once for every task in 0..count-1.
template <class Body>
void run_tasks(int64_t count, const Body& body) {
  if (workers_for(count) == 1) {
    for (int64_t task = 0; task < count; ++task) body(task, 0);
    return;
  }
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, workers_for(count), 1, [&](int64_t begin, int64_t end) {
    const TaskScope scope;
    for (int64_t worker = begin; worker < end; ++worker)
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;)
        body(task, worker);
  });
}

// Blocks that were freed, kept for the next call: fresh pages cost as much as packing into them.
class BlockCache {
 public:
  static BlockCache& instance() {
    static BlockCache* cache = new BlockCache;  // never destroyed: buffers may outlive statics
    return *cache;
  }

  // Returns a block of at least `bytes`, and sets them to its true size.
  void* take(size_t& bytes) {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      // The last given first: it is the likeliest to be in a processor's cache.
      for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block)
        if (bytes <= block->bytes && block->bytes <= 2 * bytes) {
          void* data = block->data;
          bytes = block->bytes;
          cached_ -= bytes;
          blocks_.erase(std::next(block).base());
          return data;
        }
    }
    void* data = std::aligned_alloc(alignment, bytes);
    if (!data) throw std::bad_alloc();
    return data;
  }

  void give(void* data, size_t bytes) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (bytes > most_bytes) return std::free(data);
    while (cached_ + bytes > most_bytes || blocks_.size() == most_blocks) {
      std::free(blocks_.front().data);  // the one that nobody has asked for the longest
      cached_ -= blocks_.front().bytes;
      blocks_.erase(blocks_.begin());
    }
    blocks_.push_back({data, bytes});
    cached_ += bytes;
  }

  static constexpr size_t alignment = 64;

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  static constexpr size_t most_bytes = size_t(48) << 20, most_blocks = 256;

  BlockCache() { blocks_.reserve(most_blocks); }

  std::mutex mutex_;
  std::vector<Block> blocks_;
  size_t cached_ = 0;
};

// Uninitialised memory on a cache line.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size)
      : bytes_(size_t(round_up(size * int64_t(sizeof(T)) + 1, granularity))),
        data_(static_cast<T*>(BlockCache::instance().take(bytes_))) {}
  Buffer(int64_t size, T value) : Buffer(size) { std::fill_n(data_, size, value); }
  Buffer(Buffer&& other) noexcept
      : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() {
    if (data_) BlockCache::instance().give(data_, bytes_);
  }

  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  static constexpr int64_t granularity = 4096;  // sizes that differ little share cached blocks
  size_t bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace spcolor
