// Vectors of float32 and how they are read and written; included once for each instruction set, by the kernels.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

constexpr int kLanes = ROTACUBE_LANES;

typedef float Vector __attribute__((vector_size(ROTACUBE_LANES * 4)));
typedef uint32_t Bits __attribute__((vector_size(ROTACUBE_LANES * 4)));
typedef int32_t Signed __attribute__((vector_size(ROTACUBE_LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(ROTACUBE_LANES * 2)));

// What a matrix product multiplies: a float, or where the processor has them pairs of bfloat16.
#if defined(ROTACUBE_PAIRS)
template <typename X>
using WordOf = std::conditional_t<std::is_same_v<X, BFloat16>, Pair, float>;
#else
template <typename X>
using WordOf = float;
#endif

inline Vector splat(float value) { return value - Vector{}; }

// memcpy, since none of these need lie aligned: one instruction each.
inline Vector load(const float* from) {
  Vector all;
  std::memcpy(&all, from, sizeof(all));
  return all;
}

inline Vector load(const BFloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof(halves));
  return (Vector)(__builtin_convertvector(halves, Bits) << 16);
}

inline Vector load(const Float16* from) {
#if ROTACUBE_LANES == 16
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif ROTACUBE_LANES == 8
  return (Vector)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  Vector all{};
  for (int i = 0; i < kLanes; ++i) all[i] = widen(from[i]);
  return all;
#endif
}

// Rounds to bfloat16, which is then the upper half of each lane; the lower half is zero.
inline Bits round_to_bfloat16(Vector values) {
  const Bits bits = (Bits)values;
  const Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (values == values ? rounded : bits | 0x400000) & 0xffff0000;
}

inline void store(float* to, Vector values) { std::memcpy(to, &values, sizeof(values)); }

inline void store(BFloat16* to, Vector values) {
#if defined(ROTACUBE_PAIRS)
  const __m256bh halves = _mm512_cvtneps_pbh((__m512)values);
#else
  const Halves halves = __builtin_convertvector(round_to_bfloat16(values) >> 16, Halves);
#endif
  std::memcpy(to, &halves, sizeof(halves));
}

inline void store(Float16* to, Vector values) {
#if ROTACUBE_LANES == 16
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtps_ph((__m512)values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif ROTACUBE_LANES == 8
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm256_cvtps_ph((__m256)values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  for (int i = 0; i < kLanes; ++i) to[i] = narrow<Float16>(values[i]);
#endif
}

template <typename Word>
constexpr int64_t kLanesOf = std::is_same_v<Word, Pair> ? 2 : 1;

template <typename Word>
constexpr int64_t words_for(int64_t lanes) {
  return (lanes + kLanesOf<Word> - 1) / kLanesOf<Word>;
}

// Adds the products of one word, which stands for a whole vector of it, with a vector of words.
inline void multiply_add(Vector& sum, float left, Vector right) { sum += left * right; }
inline Vector load_words(const float* from) { return load(from); }

#if defined(ROTACUBE_PAIRS)
inline void multiply_add(Vector& sum, Pair left, Vector right) {
  int32_t bits;
  std::memcpy(&bits, &left, sizeof(bits));
  sum = (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(bits), (__m512bh)right);
}
inline Vector load_words(const Pair* from) { return load(reinterpret_cast<const float*>(from)); }
#endif

#if defined(ROTACUBE_SHUFFLES)
// Exchanges lanes l + S of the first row with lanes l of the second, for all l without the bit S.
template <int S, int... I>
inline void exchange(Vector& first, Vector& second, std::integer_sequence<int, I...>) {
  const Vector a = first, b = second;
  first = __builtin_shufflevector(a, b, (I & S ? kLanes + I - S : I)...);
  second = __builtin_shufflevector(a, b, (I & S ? kLanes + I : I + S)...);
}

// Transposes a square of kLanes vectors.
template <int S = 1>
inline void transpose(Vector (&rows)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & S) == 0) exchange<S>(rows[i], rows[i | S], std::make_integer_sequence<int, kLanes>());
  }
  if constexpr (2 * S < kLanes) transpose<2 * S>(rows);
}
#else
inline void transpose(Vector (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const float swapped = rows[i][j];
      rows[i][j] = rows[j][i];
      rows[j][i] = swapped;
    }
  }
}
#endif

// The first `count` lanes, at most kLanes; those that are not read are zero.
template <typename X>
inline Vector load_some(const X* from, int64_t count) {
  if (count >= kLanes) return load(from);
#if ROTACUBE_LANES == 16
  const unsigned wanted = (1u << count) - 1;
  if constexpr (std::is_same_v<X, float>) return (Vector)_mm512_maskz_loadu_ps(static_cast<__mmask16>(wanted), from);
#endif
  X part[kLanes] = {};
  std::memcpy(part, from, static_cast<std::size_t>(count) * sizeof(X));
  return load(part);
}

template <typename X>
inline void store_some(X* to, Vector values, int64_t count) {
  if (count >= kLanes) return store(to, values);
  X part[kLanes];
  store(part, values);
  std::memcpy(to, part, static_cast<std::size_t>(count) * sizeof(X));
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
