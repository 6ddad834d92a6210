// Independent chains of fused multiply-adds in registers: the arithmetic peak of the CPU.
// Compiled at run time for this machine by machine.py.
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kBytes = 64, kChains = 24;  // 32 registers
#elif defined(__AVX__)
constexpr int kBytes = 32, kChains = 12;  // 16 registers
#else
constexpr int kBytes = 16, kChains = 12;
#endif

typedef float Vector __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / sizeof(float);

static float run_chains(long steps) {
  volatile float factor = 0.999f, summand = 0.001f;  // volatile: not known to the compiler
  const Vector a = Vector{} + factor, b = Vector{} + summand;
  Vector chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = Vector{} + static_cast<float>(c);
  for (long step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) chain[c] = chain[c] * a + b;
  }
  float sum = 0;
  for (const Vector& vector : chain) sum += vector[0] + vector[kLanes - 1];
  return sum;
}

extern "C" long flops_per_step() { return 2L * kChains * kLanes; }

extern "C" float run_threads(int threads, long steps) {
  std::vector<float> sums(threads);
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back([&, t] { sums[t] = run_chains(steps); });
  sums[0] = run_chains(steps);
  for (std::thread& thread : others) thread.join();
  float sum = 0;
  for (float s : sums) sum += s;
  return sum;
}
