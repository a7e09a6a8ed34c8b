// The Cube convolution on the CPU: an implicit matrix product with register tiles.
//
// Seen from the coarse grid each output pixel reads, for K = 3, all C channels of its own pixel, C/2 of one neighbour
// in the row, C/2 of one in the column and C/4 of one across. Within a pixel the channels are put in an order of phases
// in which each of these is one run ("segment"): 0 2 3 1 for anchor "tl" (own, then rows 2 3, columns 3 1, corner 3)
// and its mirror 3 1 0 2 for "br". So a tile of the image, reordered once with a rim of zeros, is the left matrix as it
// lies: no im2col. The weights are packed in the same order, into panels of a few vectors of outputs. Other K only have
// more segments.
//
// bfloat16 is the same product. With AVX512_BF16 its words are pairs of channels, else it is widened on the way in.
// Every output is summed in one order, whatever the tiles: the result depends neither on the number of threads nor on
// the place in the batch.
#include "cube_conv2d.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "cube_conv2d_instructions.h"
#include "cube_conv2d_work.h"

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__) || __GNUC__ >= 11
#define ROTACUBE_HAS_AVX512_BF16
#endif
#endif

#define ROTACUBE_ISA generic
#define ROTACUBE_TARGET
#define ROTACUBE_LANES 4
#define ROTACUBE_MR 4
#define ROTACUBE_NR 2
#include "cube_conv2d_kernel.h"

#if defined(__x86_64__)
#define ROTACUBE_ISA avx2
#define ROTACUBE_TARGET __attribute__((target("avx2,fma")))
#define ROTACUBE_LANES 8
#define ROTACUBE_MR 4
#define ROTACUBE_NR 3
#include "cube_conv2d_kernel.h"

#define ROTACUBE_ISA avx512
#define ROTACUBE_TARGET __attribute__((target("avx512f,fma")))
#define ROTACUBE_LANES 16
#define ROTACUBE_MR 8
#define ROTACUBE_NR 3
#include "cube_conv2d_kernel.h"

#if defined(ROTACUBE_HAS_AVX512_BF16)
#define ROTACUBE_ISA avx512_bf16
#define ROTACUBE_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,fma")))
#define ROTACUBE_LANES 16
#define ROTACUBE_MR 8
#define ROTACUBE_NR 3
#define ROTACUBE_PAIRS
#include "cube_conv2d_kernel.h"
#endif
#endif

namespace rotacube::cpu {
namespace {

enum class Level { kGeneric, kAvx2, kAvx512, kAvx512Bf16 };

// The most that this processor has. ROTACUBE_CPU=generic, avx2 or avx512 asks for less, so that each can be tested on
// one machine, and a wrong result be traced.
Level choose_level() {
#if defined(__x86_64__)
  const char* variable = std::getenv("ROTACUBE_CPU");
  const std::string most = variable != nullptr ? variable : "";
  const bool avx2_wanted = most != "generic";
  const bool avx512_wanted = avx2_wanted && most != "avx2";
#if defined(ROTACUBE_HAS_AVX512_BF16)
  const bool pairs_wanted = avx512_wanted && most != "avx512";
  if (pairs_wanted && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return Level::kAvx512Bf16;
  }
#endif
  if (avx512_wanted && __builtin_cpu_supports("avx512f")) return Level::kAvx512;
  if (avx2_wanted && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Level::kAvx2;
#endif
  return Level::kGeneric;
}

}  // namespace

template <typename X, typename W>
void cube_conv2d(const CubeShape& shape, const Operands<X, W>& operands, const Threads& threads) {
  if (shape.batch == 0 || shape.height == 0 || shape.width == 0 || shape.outputs == 0) return;
  [[maybe_unused]] static const Level level = choose_level();
#if defined(ROTACUBE_HAS_AVX512_BF16)
  if constexpr (std::is_same_v<X, BFloat16>) {
    if (level == Level::kAvx512Bf16) {
      return Work<X, W, Pair>(avx512_bf16::kInstructions<X, W, Pair>, shape, operands).run(threads);
    }
  }
#endif
#if defined(__x86_64__)
  if (level >= Level::kAvx512) {
    return Work<X, W, float>(avx512::kInstructions<X, W, float>, shape, operands).run(threads);
  }
  if (level == Level::kAvx2) {
    return Work<X, W, float>(avx2::kInstructions<X, W, float>, shape, operands).run(threads);
  }
#endif
  Work<X, W, float>(generic::kInstructions<X, W, float>, shape, operands).run(threads);
}

template void cube_conv2d(const CubeShape&, const Operands<float, float>&, const Threads&);
template void cube_conv2d(const CubeShape&, const Operands<BFloat16, BFloat16>&, const Threads&);
template void cube_conv2d(const CubeShape&, const Operands<BFloat16, float>&, const Threads&);

}  // namespace rotacube::cpu
