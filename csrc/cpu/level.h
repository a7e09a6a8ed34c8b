// Which instruction set the CPU operators use: chosen once, when the first of them runs.
#pragma once

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 11)
#define ROTACUBE_HAS_AVX512_BF16
#endif

namespace rotacube::cpu {

enum class Level { kGeneric, kAvx2, kAvx512, kAvx512Bf16 };

// The most that this processor has. The environment variable ROTACUBE_CPU=generic, avx2 or avx512 asks for less, so
// that each can be tested on one machine, and a wrong result be traced.
Level level();

}  // namespace rotacube::cpu

// Calls `call` as it stands in the namespace of the instruction set that is in use; the arguments follow.
#if defined(ROTACUBE_HAS_AVX512_BF16)
#define ROTACUBE_RUN(call, ...)                                                                     \
  (::rotacube::cpu::level() == ::rotacube::cpu::Level::kAvx512Bf16 ? avx512_bf16::call(__VA_ARGS__) \
   : ::rotacube::cpu::level() == ::rotacube::cpu::Level::kAvx512   ? avx512::call(__VA_ARGS__)      \
   : ::rotacube::cpu::level() == ::rotacube::cpu::Level::kAvx2     ? avx2::call(__VA_ARGS__)        \
                                                                   : generic::call(__VA_ARGS__))
#elif defined(__x86_64__)
#define ROTACUBE_RUN(call, ...)                                                            \
  (::rotacube::cpu::level() == ::rotacube::cpu::Level::kAvx512 ? avx512::call(__VA_ARGS__) \
   : ::rotacube::cpu::level() == ::rotacube::cpu::Level::kAvx2 ? avx2::call(__VA_ARGS__)   \
                                                               : generic::call(__VA_ARGS__))
#else
#define ROTACUBE_RUN(call, ...) (generic::call(__VA_ARGS__))
#endif
