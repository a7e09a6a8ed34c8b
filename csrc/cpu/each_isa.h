// Includes the file ROTACUBE_KERNELS once for each instruction set, which no include guard may stop.
//
// In the file everything stands in the namespace ROTACUBE_ISA, lambdas and templates too: all of it is compiled for
// that instruction set, loops are vectorised for it. It finds ROTACUBE_LANES (floats a vector), ROTACUBE_MR and
// ROTACUBE_NR (rows, and vectors a row, of the register tile of a matrix product), and ROTACUBE_PAIRS where the
// instructions of AVX512_BF16 are there; and ROTACUBE_SHUFFLES where the compiler has __builtin_shufflevector. Headers
// of the standard library are included before, outside.

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define ROTACUBE_SHUFFLES
#endif
#endif

#if defined(__clang__)
#define ROTACUBE_PRAGMA(text) _Pragma(#text)
#define ROTACUBE_BEGIN(isa) ROTACUBE_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define ROTACUBE_END _Pragma("clang attribute pop")
#else
#define ROTACUBE_PRAGMA(text) _Pragma(#text)
#define ROTACUBE_BEGIN(isa) _Pragma("GCC push_options") ROTACUBE_PRAGMA(GCC target(isa))
#define ROTACUBE_END _Pragma("GCC pop_options")
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 warns about its own intrinsics (bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors never cross the border between instruction sets
#endif

#define ROTACUBE_ISA generic
#define ROTACUBE_LANES 4
#define ROTACUBE_MR 4
#define ROTACUBE_NR 2
#include ROTACUBE_KERNELS
#undef ROTACUBE_ISA
#undef ROTACUBE_LANES
#undef ROTACUBE_MR
#undef ROTACUBE_NR

#if defined(__x86_64__)
ROTACUBE_BEGIN("avx2,fma,f16c")
#define ROTACUBE_ISA avx2
#define ROTACUBE_LANES 8
#define ROTACUBE_MR 4
#define ROTACUBE_NR 3
#include ROTACUBE_KERNELS
#undef ROTACUBE_ISA
#undef ROTACUBE_LANES
#undef ROTACUBE_MR
#undef ROTACUBE_NR
ROTACUBE_END

#define ROTACUBE_LANES 16
#define ROTACUBE_MR 8
#define ROTACUBE_NR 3
ROTACUBE_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define ROTACUBE_ISA avx512
#include ROTACUBE_KERNELS
#undef ROTACUBE_ISA
ROTACUBE_END

#if defined(ROTACUBE_HAS_AVX512_BF16)
ROTACUBE_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")
#define ROTACUBE_ISA avx512_bf16
#define ROTACUBE_PAIRS
#include ROTACUBE_KERNELS
#undef ROTACUBE_ISA
#undef ROTACUBE_PAIRS
ROTACUBE_END
#endif
#undef ROTACUBE_LANES
#undef ROTACUBE_MR
#undef ROTACUBE_NR
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#undef ROTACUBE_BEGIN
#undef ROTACUBE_END
#undef ROTACUBE_PRAGMA
#undef ROTACUBE_SHUFFLES
#undef ROTACUBE_KERNELS
