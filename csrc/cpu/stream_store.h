// Stores past the caches, for results too large to be read again from there; included once for each instruction set.
//
// A plain store first reads the line that it fills, which is a third of the traffic of a copy.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// `to` is aligned to the vector where `past` is true.
inline void store(float* to, Vector values, bool past) {
#if ROTACUBE_LANES == 16
  if (past) return _mm512_stream_ps(to, (__m512)values);
#elif ROTACUBE_LANES == 8
  if (past) return _mm256_stream_ps(to, (__m256)values);
#else
  (void)past;
#endif
  store(to, values);
}

template <typename X>
inline void store(X* to, Vector values, bool past) {
#if ROTACUBE_LANES >= 8
  if (past) {
    alignas(32) X halves[kLanes];
    store(halves, values);
#if ROTACUBE_LANES == 16
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), *reinterpret_cast<const __m256i*>(halves));
#else
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), *reinterpret_cast<const __m128i*>(halves));
#endif
    return;
  }
#else
  (void)past;
#endif
  store(to, values);
}

// Whole cache lines, from and to their borders.
template <typename X>
inline void copy_past(X* to, const X* from, int64_t count) {
#if ROTACUBE_LANES == 16
  for (int64_t i = 0; i < count; i += 64 / static_cast<int64_t>(sizeof(X)))
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
#elif ROTACUBE_LANES == 8
  for (int64_t i = 0; i < count; i += 32 / static_cast<int64_t>(sizeof(X)))
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i)));
#else
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(X));
#endif
}

// What was stored past the caches is seen by the other threads from here on.
inline void finish_stores() {
#if ROTACUBE_LANES >= 8
  _mm_sfence();
#endif
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
