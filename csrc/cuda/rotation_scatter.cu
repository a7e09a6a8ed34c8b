// The rotation-invariant convolution on NVIDIA GPUs, forward, by scattering: the products of the input with each tap
// are computed once and serve all rotations, at four places.
//
// A block computes 16 outputs on a square of pixels whose inputs are 16 x 16. For each orbit of four taps it multiplies
// the inputs with all four, puts the products into shared memory, and each thread adds up what its pixels get.
#include "gemm_tile.h"
#include "rotation_conv2d.h"
#include "rotation_orbits.h"

namespace rotacube::cuda {
namespace {

constexpr int kSide = 16;                     // of the square of inputs
constexpr int kRegion = kSide * kSide;        // its pixels
constexpr int kOutputs = kIndexOutputs;       // of a block
constexpr int kTaps = 4;                      // of an orbit
constexpr int kMostRows = kSide - 2;          // rows of outputs of a block: with K = 3
constexpr int kTurned = 2;                    // taps whose products lie in shared memory at a time
static_assert(kThreads == kSide * kOutputs);  // a thread has one output in one column

template <typename T>
struct Scatter {
  Orbits orbits;
  Plane<T> x;
  const T* weight;    // by 16 outputs: (centre, 16 outputs, depth), then (orbit, tap, 16 outputs, depth)
  const float* bias;  // or null
  Plane<T> y;
  int32_t* index;  // or null
  int padding, depth, output_tiles, row_tiles, column_tiles;
};

template <typename T, typename W>
__global__ void pack_taps(Orbits orbits, const W* weight, Strides strides, int outputs, int channels, int depth,
                          int64_t count, T* packed) {
  const int64_t i = thread_number();
  if (i >= count) return;
  const int channel = static_cast<int>(i % depth);
  const int taps = orbits.kernel * orbits.kernel;
  const int64_t row = i / depth;
  const int output = static_cast<int>(row / (taps * kOutputs)) * kOutputs + static_cast<int>(row % kOutputs);
  const int number = static_cast<int>(row / kOutputs % taps);  // 0: the centre
  const int tap = number == 0 ? orbits.centre() : orbits.position((number - 1) / kTaps, (number - 1) % kTaps);
  T value = narrow<T>(0.0f);
  if (output < outputs && channel < channels) {
    value = read_tap<T>(weight, strides, output, channel, tap, orbits.kernel);
  }
  packed[i] = value;
}

template <typename T>
struct ScatterOp {
  static constexpr int kPitch = kDepth<T> + kPacket<T>;
  static constexpr int kABytes = kRegion * kPitch * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kABytes + kTaps * kOutputs * kPitch * static_cast<int>(sizeof(T));
  static constexpr int kUnits = kRegion * 4 / kThreads;
  using Fetched = Packet[kUnits];

  const Scatter<T>& p;
  int image, top, left;  // of the inputs; may lie outside
  const T* weight;       // of this block, this orbit
  int taps;              // of this orbit
  Sums<T> sums[2][kTaps];

  __device__ explicit ScatterOp(const Scatter<T>& parameters) : p(parameters) {}

  __device__ static int unit(int i) { return static_cast<int>(threadIdx.x) + kThreads * i; }
  __device__ int pixel(int unit) const { return p.x.strides.channel == 1 ? unit / 4 : unit % kRegion; }
  __device__ int part(int unit) const { return p.x.strides.channel == 1 ? unit % 4 : unit / kRegion; }

  __device__ void fetch(int step, Fetched& fetched) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      fetched[i] = Packet{};
      const Place place = {image, top + pixel(unit(i)) / kSide, left + pixel(unit(i)) % kSide};
      int64_t offset;
      if (p.x.find(place, 0, 0, offset)) {
        fetched[i] = p.x.read_channels(offset, step * kDepth<T> + part(unit(i)) * kPacket<T>);
      }
    }
  }

  __device__ void store(const Fetched& fetched, char* stage) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      write_packet(reinterpret_cast<T*>(stage) + pixel(unit(i)) * kPitch + part(unit(i)) * kPacket<T>, fetched[i]);
    }
  }

  __device__ void copy(int step, char* stage) {
    const int row = static_cast<int>(threadIdx.x) / 4, k = static_cast<int>(threadIdx.x) % 4 * kPacket<T>;
    static_assert(kTaps * kOutputs * 4 == kThreads);
    if (row >= taps * kOutputs) return;
    __pipeline_memcpy_async(reinterpret_cast<T*>(stage + kABytes) + row * kPitch + k,
                            weight + static_cast<int64_t>(row) * p.depth + step * kDepth<T> + k, 16);
  }

  __device__ void multiply(int, char* stage) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    Tile<T>::template multiply<kDepth<T>, true, true>(sums, reinterpret_cast<const T*>(stage) + warp * 32 * kPitch,
                                                      kPitch, reinterpret_cast<const T*>(stage + kABytes), kPitch,
                                                      (1u << taps) - 1);
  }
};

template <typename T, int ROTATIONS>
__global__ void __launch_bounds__(kThreads) rotation_scatter_kernel(Scatter<T> p) {
  char* const shared = shared_memory();
  float* const turned = reinterpret_cast<float*>(shared);  // (tap, pixel, output)
  const int side = kSide - p.orbits.kernel + 1;            // of the square of outputs
  int block = static_cast<int>(blockIdx.x);
  const int output_tile = block % p.output_tiles;
  block /= p.output_tiles;
  const int left = block % p.column_tiles * side;
  block /= p.column_tiles;
  const int top = block % p.row_tiles * side, image = block / p.row_tiles;

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int output = static_cast<int>(threadIdx.x) % kOutputs, column = static_cast<int>(threadIdx.x) / kOutputs;
  float total[kMostRows][ROTATIONS];
#pragma unroll
  for (int i = 0; i < kMostRows; ++i) {
#pragma unroll
    for (int r = 0; r < ROTATIONS; ++r) total[i][r] = 0.0f;
  }

  ScatterOp<T> op(p);
  op.image = image;
  op.top = top - p.padding;
  op.left = left - p.padding;
  op.weight = p.weight + static_cast<int64_t>(output_tile) * p.orbits.kernel * p.orbits.kernel * kOutputs * p.depth;
  for (int orbit = -1; orbit < p.orbits.count(); ++orbit) {  // -1: the centre
    op.taps = orbit < 0 ? 1 : kTaps;
    clear<T>(op.sums);
    run_steps(op, 0, p.depth / kDepth<T>, shared, 2);
    op.weight += static_cast<int64_t>(op.taps) * kOutputs * p.depth;
#pragma unroll
    for (int first = 0; first < kTaps; first += kTurned) {
      if (first >= op.taps) continue;
#pragma unroll
      for (int j = 0; j < kTurned; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          Tile<T>::store(op.sums[i][first + j], turned + (j * kRegion + warp * 32 + 16 * i) * kOutputs, kOutputs);
        }
      }
      __syncthreads();
      if (column < side) {
#pragma unroll
        for (int j = 0; j < kTurned; ++j) {
          if (first + j >= op.taps) continue;
#pragma unroll
          for (int r = 0; r < ROTATIONS; ++r) {
            const int at = orbit < 0 ? p.orbits.centre() : p.orbits.position(orbit, (first + j - r) & 3);
            const float* const from =
                turned + (j * kRegion + at / p.orbits.kernel * kSide + at % p.orbits.kernel + column) * kOutputs +
                output;
#pragma unroll
            for (int row = 0; row < kMostRows; ++row) {
              if (row < side) total[row][r] += from[row * kSide * kOutputs];
            }
          }
        }
      }
      __syncthreads();
    }
  }

  const int channel = output_tile * kOutputs + output;
  const float bias = p.bias != nullptr ? p.bias[channel] : 0.0f;
#pragma unroll
  for (int row = 0; row < kMostRows; ++row) {
    if (row >= side) continue;
    float best = total[row][0];
    int best_r = 0;
#pragma unroll
    for (int r = 1; r < ROTATIONS; ++r) take_larger(total[row][r], r, best, best_r);
    const Place place = {image, top + row, left + column};
    int64_t offset;
    const bool inside = p.y.find(place, 0, 0, offset) && column < side;
    if (inside && channel < p.y.channels) p.y.data[offset + channel * p.y.strides.channel] = narrow<T>(best + bias);
    if (ROTATIONS == 1 || p.index == nullptr) continue;
    const bool known = channel < p.y.channels;
    const unsigned int low = __ballot_sync(~0u, known && (best_r & 1) != 0);
    const unsigned int high = __ballot_sync(~0u, known && (best_r & 2) != 0);
    if (!inside || output != 0) continue;
    const int shift = static_cast<int>(threadIdx.x) % 32;  // 0 or 16: two columns share a warp
    const int64_t pixel = (static_cast<int64_t>(image) * p.y.height + place.row) * p.y.width + place.column;
    p.index[pixel * p.output_tiles + output_tile] =
        static_cast<int32_t>((low >> shift & 0xffff) | (high >> shift & 0xffff) << 16);
  }
}

template <typename T>
struct Places {
  T* weight;
  float* bias;
  int64_t padded_outputs, weights, bytes;
  int depth;
};

template <typename T>
Places<T> places_in(void* workspace, const RotationShape& shape) {
  Arena arena(workspace);
  Places<T> at;
  at.padded_outputs = up_to(shape.outputs, kOutputs);
  at.depth = static_cast<int>(up_to(shape.channels, kDepth<T>));
  at.weights = at.padded_outputs * shape.kernel * shape.kernel * at.depth;
  at.weight = arena.take<T>(at.weights);
  at.bias = arena.take<float>(at.padded_outputs);
  at.bytes = arena.bytes();
  return at;
}

template <typename T, typename W>
cudaError_t forward(const RotationShape& shape, const RotationTensors& in, const void* bias, void* y,
                    const Strides& y_strides, int32_t* index, void* workspace, cudaStream_t stream) {
  const int64_t height = shape.out_height(), width = shape.out_width();
  if (shape.batch * height * width >= kMostPixels || shape.kernel < 3 || shape.kernel > 7) return cudaErrorInvalidValue;
  if (shape.batch * height * width * shape.outputs == 0) return cudaSuccess;
  const Places<T> at = places_in<T>(workspace, shape);
  const Orbits orbits = {static_cast<int>(shape.kernel)};
  const int outputs = static_cast<int>(shape.outputs), side = kSide - orbits.kernel + 1;
  cudaError_t error =
      launch_each(pack_taps<T, W>, at.weights, stream, orbits, static_cast<const W*>(in.weight), in.weight_strides,
                  outputs, static_cast<int>(shape.channels), at.depth, at.weights, at.weight);
  if (error != cudaSuccess) return error;
  if (bias != nullptr) {
    error = launch_each(pack_bias<T, W>, at.padded_outputs, stream, static_cast<const W*>(bias), outputs,
                        static_cast<int>(at.padded_outputs), at.bias);
    if (error != cudaSuccess) return error;
  }
  const Scatter<T> p = {orbits,
                        plane_of<T>(in.x, in.x_strides, shape.channels, shape.height, shape.width),
                        at.weight,
                        bias == nullptr ? nullptr : at.bias,
                        plane_of<T>(y, y_strides, shape.outputs, height, width),
                        index,
                        static_cast<int>(shape.padding),
                        at.depth,
                        static_cast<int>(at.padded_outputs / kOutputs),
                        static_cast<int>(up_to(height, side) / side),
                        static_cast<int>(up_to(width, side) / side)};
  const int64_t blocks = shape.batch * p.output_tiles * p.row_tiles * p.column_tiles;
  constexpr int64_t kStages = 2 * ScatterOp<T>::kStageBytes;
  static_assert(kTurned * kRegion * kOutputs * sizeof(float) <= kStages);
  return shape.rotations == 1 ? launch(rotation_scatter_kernel<T, 1>, blocks, kThreads, kStages, stream, p)
                              : launch(rotation_scatter_kernel<T, 4>, blocks, kThreads, kStages, stream, p);
}

}  // namespace

int64_t rotation_scatter_workspace(const RotationShape& shape, Element element) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape).bytes; });
}

cudaError_t rotation_scatter(const RotationShape& shape, const RotationTensors& in, const void* bias, void* y,
                             const Strides& y_strides, int32_t* index, void* workspace, cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return forward<decltype(type), decltype(weight)>(shape, in, bias, y, y_strides, index, workspace, stream);
  });
}

}  // namespace rotacube::cuda
