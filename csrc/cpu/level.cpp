#include "level.h"

#include <cstdlib>
#include <string>

namespace rotacube::cpu {
namespace {

Level choose() {
#if defined(__x86_64__)
  const char* variable = std::getenv("ROTACUBE_CPU");
  const std::string most = variable != nullptr ? variable : "";
  const bool avx2_wanted = most != "generic";
  const bool avx512_wanted = avx2_wanted && most != "avx2";
#if defined(ROTACUBE_HAS_AVX512_BF16)
  const bool pairs_wanted = avx512_wanted && most != "avx512";
  if (pairs_wanted && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return Level::kAvx512Bf16;
  }
#endif
  if (avx512_wanted && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return Level::kAvx512;
  }
  if (avx2_wanted && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    return Level::kAvx2;
  }
#endif
  return Level::kGeneric;
}

}  // namespace

Level level() {
  static const Level chosen = choose();
  return chosen;
}

}  // namespace rotacube::cpu
