// The vector part of the CPU Cube convolution; included once for each instruction set, which no include guard may stop.
//
// The includer defines ROTACUBE_ISA (a namespace), ROTACUBE_TARGET (a function attribute), ROTACUBE_LANES (floats a
// vector), ROTACUBE_MR (pixels) and ROTACUBE_NR (vectors of outputs) of the register tile.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

constexpr int kLanes = ROTACUBE_LANES;
constexpr int kPixels = ROTACUBE_MR;
constexpr int kVectors = ROTACUBE_NR;

typedef float Vector __attribute__((vector_size(ROTACUBE_LANES * 4)));
typedef float LooseVector __attribute__((vector_size(ROTACUBE_LANES * 4), aligned(4)));

// One register tile: MR neighbouring pixels times NV vectors of outputs, over all segments.
template <int MR, int NV>
ROTACUBE_TARGET void register_tile(const Segment* segments, int64_t segment_count, const float* a, int64_t pixel_stride,
                                   const float* b, const float* bias, float* c, int64_t c_stride) {
  Vector sum[MR][NV];
#pragma GCC unroll 8
  for (int n = 0; n < NV; ++n) {
    const Vector start = *reinterpret_cast<const LooseVector*>(bias + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[m][n] = start;
  }
  for (int64_t s = 0; s < segment_count; ++s) {
    const float* row[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) row[m] = a + segments[s].offset + m * pixel_stride;
    const int64_t length = segments[s].length;
    for (int64_t k = 0; k < length; ++k, b += NV * kLanes) {
      Vector right[NV];
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) right[n] = *reinterpret_cast<const Vector*>(b + n * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const float left = row[m][k];
#pragma GCC unroll 8
        for (int n = 0; n < NV; ++n) sum[m][n] += left * right[n];
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < NV; ++n) *reinterpret_cast<LooseVector*>(c + m * c_stride + n * kLanes) = sum[m][n];
  }
}

template <int MR>
void (*tile_of(int64_t vectors))(const Segment*, int64_t, const float*, int64_t, const float*, const float*, float*,
                                 int64_t) {
  if constexpr (kVectors >= 3) {
    if (vectors == 3) return register_tile<MR, 3>;
  }
  return vectors == 2 ? register_tile<MR, 2> : register_tile<MR, 1>;
}

RegisterTile* find_tile(int64_t pixels, int64_t vectors) {
  switch (pixels) {
    case 1:
      return tile_of<1>(vectors);
    case 2:
      return tile_of<2>(vectors);
    case 3:
      return tile_of<3>(vectors);
    case 4:
      return tile_of<4>(vectors);
#if ROTACUBE_MR > 4
    case 5:
      return tile_of<5>(vectors);
    case 6:
      return tile_of<6>(vectors);
    case 7:
      return tile_of<7>(vectors);
    case 8:
      return tile_of<8>(vectors);
#endif
    default:
      return nullptr;
  }
}

// A pixel's channels, interleaved by phase, to one run of G a phase.
ROTACUBE_TARGET void split_phases(const float* from, int64_t groups, const int* order, float* to) {
  float* out0 = to;
  float* out1 = to + groups;
  float* out2 = to + 2 * groups;
  float* out3 = to + 3 * groups;
  if (order[0] == 0) {  // 0 2 3 1
    for (int64_t g = 0; g < groups; ++g) {
      out0[g] = from[4 * g];
      out3[g] = from[4 * g + 1];
      out1[g] = from[4 * g + 2];
      out2[g] = from[4 * g + 3];
    }
  } else {  // 3 1 0 2
    for (int64_t g = 0; g < groups; ++g) {
      out2[g] = from[4 * g];
      out1[g] = from[4 * g + 1];
      out3[g] = from[4 * g + 2];
      out0[g] = from[4 * g + 3];
    }
  }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define ROTACUBE_SHUFFLES
#endif
#endif

#if defined(ROTACUBE_SHUFFLES)
// Swaps the off-diagonal halves of two rows that lie S lanes apart in a block that is being transposed.
template <int S, int... LANE>
ROTACUBE_TARGET inline void swap_halves(Vector& upper, Vector& lower, std::integer_sequence<int, LANE...>) {
  const Vector a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, ((LANE & S) ? kLanes + LANE - S : LANE)...);
  lower = __builtin_shufflevector(a, b, ((LANE & S) ? kLanes + LANE : LANE + S)...);
}

template <int S>
ROTACUBE_TARGET inline void transpose(Vector (&block)[kLanes]) {
  if constexpr (S < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & S) == 0) swap_halves<S>(block[i], block[i + S], std::make_integer_sequence<int, kLanes>());
    }
    transpose<2 * S>(block);
  }
}

// Packs kLanes weights (in memory order) of kLanes outputs: row `places[i].row` of the panel gets weight i of each
// output.
ROTACUBE_TARGET void pack_block(const float* from, int64_t output_stride, const WeightPlace* places, int64_t width,
                                float* to) {
  Vector block[kLanes];
#pragma GCC unroll 16
  for (int o = 0; o < kLanes; ++o) block[o] = *reinterpret_cast<const LooseVector*>(from + o * output_stride);
  transpose<1>(block);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) *reinterpret_cast<Vector*>(to + places[i].row * width) = block[i];
}
constexpr PackBlock* kPackBlock = pack_block;
#else
constexpr PackBlock* kPackBlock = nullptr;
#endif

constexpr InstructionSet kSet = {kLanes, kPixels, kVectors, find_tile, split_phases, kPackBlock};

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu

#undef ROTACUBE_SHUFFLES
#undef ROTACUBE_ISA
#undef ROTACUBE_TARGET
#undef ROTACUBE_LANES
#undef ROTACUBE_MR
#undef ROTACUBE_NR
