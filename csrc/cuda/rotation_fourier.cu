// The rotation-invariant convolution on NVIDIA GPUs, forward, by the Fourier transform over the four rotations: 11
// products for a kernel of 3 x 3, each summed up in registers.
//
// For an orbit with inputs x_0..x_3 and weights w_0..w_3 (its edges, or its corners) and a = x_0 - x_2, b = x_1 - x_3,
// c = (w_0 - w_2) / 2, d = (w_1 - w_3) / 2:
//
//   S += (w_0 + w_1 + w_2 + w_3) / 4 * (x_0 + x_1 + x_2 + x_3)    and S += centre * centre
//   B += (w_0 - w_1 + w_2 - w_3) / 4 * (x_0 - x_1 + x_2 - x_3)
//   m1 += c (a + b),  m2 += (c + d) a,  m3 += (c - d) b;   P = m1 - m3 = ca + db,  Q = m1 - m2 = cb - da
//
// The rotations 0, 1, 2, 3 are S + B + P, S - B - Q, S + B - P, S - B + Q.
#include "gemm_output.h"
#include "rotation_conv2d.h"
#include "rotation_orbits.h"

namespace rotacube::cuda {
namespace {

constexpr int kRows = 128;     // pixels of a block
constexpr int kColumns = 64;   // outputs of a block
constexpr int kSumKinds = 5;   // S, B, m1, m2, m3
constexpr int kProducts = 11;  // 5 of each orbit, and the centre

// The depth of one product in a step: 32 bytes.
template <typename T>
constexpr int kPart = kDepth<T> / 2;

template <typename T>
struct Fourier {
  Orbits orbits;
  Plane<T> x;
  const T* weight;  // (output, part of the channels, product, channel), filled up with zeros
  const float* bias;
  Plane<T> y;
  int32_t* index;  // or null
  int padding, parts, pixels, column_tiles, index_words, stages;
};

// A step is a part of the channels with one orbit: first that which the centre is counted to.
__device__ inline int products_of(int step) { return step % 2 == 0 ? 6 : 5; }

template <typename T, typename W>
__global__ void transform_weight(Orbits orbits, const W* weight, Strides strides, int outputs, int channels, int parts,
                                 int64_t count, T* packed) {
  const int64_t i = thread_number();
  if (i >= count) return;
  const int product = static_cast<int>(i / kPart<T> % kProducts);
  const int channel = static_cast<int>(i / kPart<T> / kProducts % parts) * kPart<T> + static_cast<int>(i % kPart<T>);
  const int output = static_cast<int>(i / kPart<T> / kProducts / parts);
  float value = 0.0f;
  if (output < outputs && channel < channels) {
    const auto tap = [&](int at) { return widen(read_tap<T>(weight, strides, output, channel, at, 3)); };
    const int orbit = product < 6 ? 0 : 1, kind = product < 6 ? product : product - 6;
    float w[4];
    for (int j = 0; j < 4; ++j) w[j] = tap(orbits.position(orbit, j));
    const float c = (w[0] - w[2]) / 2, d = (w[1] - w[3]) / 2;
    value = kind == 0   ? (w[0] + w[1] + w[2] + w[3]) / 4
            : kind == 1 ? (w[0] - w[1] + w[2] - w[3]) / 4
            : kind == 2 ? c
            : kind == 3 ? c + d
            : kind == 4 ? c - d
                        : tap(orbits.centre());
  }
  packed[i] = narrow<T>(value);
}

template <typename T>
struct FourierOp {
  static constexpr int kPitch = 6 * kPart<T> + kPacket<T>;
  static constexpr int kABytes = kRows * kPitch * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kABytes + kColumns * kPitch * static_cast<int>(sizeof(T));
  struct Fetched {
    Packet ring[4], centre;
  };
  static_assert(kRows * 2 == kThreads);  // a thread transforms one packet

  const Fourier<T>& p;
  int first_column;
  Place place;    // of the output's first input
  int row, part;  // of the thread's packet
  Sums<T> sums[kSumKinds][2][2];

  __device__ FourierOp(const Fourier<T>& parameters, int first_row, int column) : p(parameters), first_column(column) {
    const int thread = static_cast<int>(threadIdx.x);
    row = p.x.strides.channel == 1 ? thread / 2 : thread % kRows;
    part = p.x.strides.channel == 1 ? thread % 2 : thread / kRows;
    place = place_of(first_row + row, p.pixels, p.y.height, p.y.width);
    place.row -= p.padding;
    place.column -= p.padding;
#pragma unroll
    for (int kind = 0; kind < kSumKinds; ++kind) clear<T>(sums[kind]);
  }

  __device__ Packet read_at(int position, int channel) const {
    int64_t offset;
    return p.x.find(place, position / 3, position % 3, offset) ? p.x.read_channels(offset, channel) : Packet{};
  }

  int step_fetched;

  __device__ void fetch(int step, Fetched& fetched) {
    step_fetched = step;
    const int channel = step / 2 * kPart<T> + part * kPacket<T>;
#pragma unroll
    for (int i = 0; i < 4; ++i) fetched.ring[i] = read_at(p.orbits.position(step % 2, i), channel);
    if (step % 2 == 0) fetched.centre = read_at(p.orbits.centre(), channel);
  }

  __device__ void store(const Fetched& fetched, char* stage) {
    Packet out[5] = {};
#pragma unroll
    for (int e = 0; e < kPacket<T>; ++e) {
      float x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = widen(element<T>(fetched.ring[i], e));
      const float even = x[0] + x[2], odd = x[1] + x[3], a = x[0] - x[2], b = x[1] - x[3];
      put(out[0], e, narrow<T>(even + odd));
      put(out[1], e, narrow<T>(even - odd));
      put(out[2], e, narrow<T>(a + b));
      put(out[3], e, narrow<T>(a));
      put(out[4], e, narrow<T>(b));
    }
    T* const to = reinterpret_cast<T*>(stage) + row * kPitch + part * kPacket<T>;
#pragma unroll
    for (int kind = 0; kind < 5; ++kind) write_packet(to + kind * kPart<T>, out[kind]);
    if (step_fetched % 2 == 0) write_packet(to + 5 * kPart<T>, fetched.centre);
  }

  __device__ void copy(int step, char* stage) {
    const int across = 2 * products_of(step);
    const T* const from = p.weight + (static_cast<int64_t>(step / 2) * kProducts + step % 2 * 6) * kPart<T>;
    const int64_t pitch = static_cast<int64_t>(p.parts) * kProducts * kPart<T>;
    for (int u = static_cast<int>(threadIdx.x); u < kColumns * across; u += kThreads) {
      const int column = u / across, k = u % across * kPacket<T>;
      __pipeline_memcpy_async(reinterpret_cast<T*>(stage + kABytes) + column * kPitch + k,
                              from + (first_column + column) * pitch + k, 16);
    }
  }

  __device__ void multiply(int step, char* stage) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const T* const a = reinterpret_cast<const T*>(stage) + warp / 2 * 32 * kPitch;
    const T* const b = reinterpret_cast<const T*>(stage + kABytes) + warp % 2 * 32 * kPitch;
    const auto product = [&](Sums<T>(&to)[2][2], int number) {
      Tile<T>::template multiply<kPart<T>, true, true>(to, a + number * kPart<T>, kPitch, b + number * kPart<T>,
                                                       kPitch);
    };
#pragma unroll
    for (int kind = 0; kind < kSumKinds; ++kind) product(sums[kind], kind);
    if (step % 2 == 0) product(sums[0], 5);
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreads) rotation_fourier_kernel(Fourier<T> p) {
  char* const shared = shared_memory();
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * kRows;
  FourierOp<T> op(p, first_row, static_cast<int>(blockIdx.x) % p.column_tiles * kColumns);
  run_steps(op, 0, 2 * p.parts, shared, p.stages);

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  char* const turn = shared + warp * kTurnBytes<2>;
  const int pixel = first_row + warp / 2 * 32, column = op.first_column + warp % 2 * 32;
  Sums<T> which[2][2];  // the rotation, as a number like the sums
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int e = 0; e < kTileSums; ++e) {
        const float s = op.sums[0][i][j].x[e], b = op.sums[1][i][j].x[e], m1 = op.sums[2][i][j].x[e];
        const float along = m1 - op.sums[4][i][j].x[e], across = m1 - op.sums[3][i][j].x[e];  // P, Q
        float best = s + b + along;
        int best_r = 0;
        take_larger(s - b - across, 1, best, best_r);
        take_larger(s + b - along, 2, best, best_r);
        take_larger(s - b + across, 3, best, best_r);
        op.sums[0][i][j].x[e] = best;
        which[i][j].x[e] = static_cast<float>(best_r);
      }
    }
  }
  write_sums<T>(op.sums[0], turn, p.y, pixel, p.pixels, column, p.bias);
  if (p.index == nullptr) return;
  constexpr int kPitch = kTurnPitch<2>;
  float* const tile = reinterpret_cast<float*>(turn);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) Tile<T>::store(which[i][j], tile + 16 * j, kPitch);
    __syncwarp();
    const int row = pixel + 16 * i + lane % 16, first = column + lane / 16 * 16;  // a word a lane
    if (row < p.pixels && first < p.y.channels) {
      uint32_t word = 0;
      for (int o = 0; o < 16 && first + o < p.y.channels; ++o) {
        const auto r = static_cast<uint32_t>(tile[lane % 16 * kPitch + lane / 16 * 16 + o]);
        word |= (r & 1) << o | r >> 1 << (16 + o);
      }
      p.index[static_cast<int64_t>(row) * p.index_words + first / 16] = static_cast<int32_t>(word);
    }
    __syncwarp();
  }
}

template <typename T>
struct Places {
  T* weight;
  float* bias;
  int64_t padded_outputs, weights, bytes;
  int parts;
};

template <typename T>
Places<T> places_in(void* workspace, const RotationShape& shape) {
  Arena arena(workspace);
  Places<T> at;
  at.padded_outputs = up_to(shape.outputs, kColumns);
  at.parts = static_cast<int>(up_to(shape.channels, kPart<T>) / kPart<T>);
  at.weights = at.padded_outputs * at.parts * kProducts * kPart<T>;
  at.weight = arena.take<T>(at.weights);
  at.bias = arena.take<float>(at.padded_outputs);
  at.bytes = arena.bytes();
  return at;
}

template <typename T, typename W>
cudaError_t forward(const RotationShape& shape, const RotationTensors& in, const void* bias, void* y,
                    const Strides& y_strides, int32_t* index, void* workspace, cudaStream_t stream) {
  const int64_t height = shape.out_height(), width = shape.out_width(), pixels = shape.batch * height * width;
  if (pixels >= kMostPixels || shape.kernel != 3 || shape.rotations != 4) return cudaErrorInvalidValue;
  if (pixels * shape.outputs == 0) return cudaSuccess;
  const Places<T> at = places_in<T>(workspace, shape);
  const Orbits orbits = {3};
  const int outputs = static_cast<int>(shape.outputs);
  cudaError_t error =
      launch_each(transform_weight<T, W>, at.weights, stream, orbits, static_cast<const W*>(in.weight),
                  in.weight_strides, outputs, static_cast<int>(shape.channels), at.parts, at.weights, at.weight);
  if (error != cudaSuccess) return error;
  if (bias != nullptr) {
    error = launch_each(pack_bias<T, W>, at.padded_outputs, stream, static_cast<const W*>(bias), outputs,
                        static_cast<int>(at.padded_outputs), at.bias);
    if (error != cudaSuccess) return error;
  }
  int stages;
  error = choose_stages(FourierOp<T>::kStageBytes, &stages);
  if (error != cudaSuccess) return error;
  const Fourier<T> p = {orbits,
                        plane_of<T>(in.x, in.x_strides, shape.channels, shape.height, shape.width),
                        at.weight,
                        bias == nullptr ? nullptr : at.bias,
                        plane_of<T>(y, y_strides, shape.outputs, height, width),
                        index,
                        static_cast<int>(shape.padding),
                        at.parts,
                        static_cast<int>(pixels),
                        static_cast<int>(at.padded_outputs / kColumns),
                        static_cast<int>(up_to(shape.outputs, kIndexOutputs) / kIndexOutputs),
                        stages};
  static_assert(kWarps * kTurnBytes<2> <= FourierOp<T>::kStageBytes);
  return launch(rotation_fourier_kernel<T>, up_to(pixels, kRows) / kRows * p.column_tiles, kThreads,
                int64_t{stages} * FourierOp<T>::kStageBytes, stream, p);
}

}  // namespace

int64_t rotation_fourier_workspace(const RotationShape& shape, Element element) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape).bytes; });
}

cudaError_t rotation_fourier(const RotationShape& shape, const RotationTensors& in, const void* bias, void* y,
                             const Strides& y_strides, int32_t* index, void* workspace, cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return forward<decltype(type), decltype(weight)>(shape, in, bias, y, y_strides, index, workspace, stream);
  });
}

}  // namespace rotacube::cuda
