// Chooses the CPU level once, at first use.
#include <cstdlib>
#include <string>

#include "../checks.h"
#include "kernels.h"

namespace spcolor {
namespace {

enum class Level { portable, avx2, avx512 };

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool has_avx512() {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

Level choose() {
  const char* forced = std::getenv("SPCOLOR_CPU_LEVEL");
  if (!forced || !*forced)
    return has_avx512() ? Level::avx512 : has_avx2() ? Level::avx2 : Level::portable;
  const std::string name = forced;
  SPCOLOR_CHECK(name == "portable" || name == "avx2" || name == "avx512",
                "SPCOLOR_CPU_LEVEL: expected portable, avx2 or avx512, got '", name, "'");
  if (name == "portable") return Level::portable;
  SPCOLOR_CHECK(name == "avx2" ? has_avx2() : has_avx512(),
                "SPCOLOR_CPU_LEVEL: this processor has no ", name);
  return name == "avx2" ? Level::avx2 : Level::avx512;
}

}  // namespace

template <class T>
const Kernels<T>& kernels() {
  static const Level level = choose();
#if defined(__x86_64__)
  if (level == Level::avx512) return avx512::kernels<T>();
  if (level == Level::avx2) return avx2::kernels<T>();
#endif
  return portable::kernels<T>();
}

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

}  // namespace spcolor
