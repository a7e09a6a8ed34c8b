// The Cube convolution on NVIDIA GPUs, forward: one product (pixels x depth) * (depth x outputs). The left side is
// gathered into shared memory from x, through order and mask; the fine lattice is nowhere.
#include "cube_conv2d.h"
#include "cube_lattice.h"
#include "gemm_output.h"

namespace rotacube::cuda {
namespace {

constexpr int kRows = 128;  // pixels of a block

template <typename T>
struct CubeForward {
  CubeLattice lattice;
  CubeInput<T> in;
  const T* weight;    // (outputs, depth), filled up with zeros
  const float* bias;  // or null
  Plane<T> y;
  int pixels, depth, column_tiles, stages;
};

__global__ void fill_channels(CubeLattice lattice, int depth, int step, const int64_t* order, int* channels) {
  const int64_t k = thread_number();
  if (k >= depth) return;
  const CubeDepth at = depth_at(lattice, static_cast<int>(k), step);
  const int channel = 4 * at.group + at.phase;
  channels[k] = at.group < 0 ? -1 : order == nullptr ? channel : static_cast<int>(order[channel]);
}

// Weights by depth, and the bias, both rounded to the input's type; zeros where they are filled up.
template <typename T, typename W>
__global__ void pack_weight(CubeLattice lattice, const W* weight, Strides strides, const W* bias, int outputs,
                            int padded_outputs, int depth, T* packed, float* packed_bias) {
  const int64_t i = thread_number();
  if (i >= static_cast<int64_t>(padded_outputs) * depth) return;
  const int output = static_cast<int>(i / depth), k = static_cast<int>(i % depth);
  const CubeDepth at = depth_at(lattice, k, kDepth<T>);
  T value = narrow<T>(0.0f);
  if (output < outputs && at.group >= 0) {
    const int tap = lattice.tap(at.segment, at.phase);
    value = read_tap<T>(weight, strides, output, at.group, tap, lattice.kernel);
  }
  packed[i] = value;
  if (packed_bias != nullptr && k == 0) {
    packed_bias[output] = output < outputs ? widen(narrow<T>(widen(bias[output]))) : 0.0f;
  }
}

template <typename T, int FN>
struct CubeForwardOp {
  static constexpr int kColumns = 32 * FN, kPitch = kDepth<T> + kPacket<T>;
  static constexpr int kABytes = kRows * kPitch * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kABytes + kColumns * kPitch * static_cast<int>(sizeof(T));
  static constexpr int kUnits = kRows * 4 / kThreads;  // packets of the left side that a thread gathers
  using Fetched = CubeGather<T>[kUnits];

  const CubeForward<T>& p;
  int first_column;
  CubeStep<T> at;
  Place places[kUnits];

  // By packets neighbouring threads read neighbours in the depth, else neighbouring pixels.
  __device__ int row(int unit) const { return in_packets() ? unit / 4 : unit % kRows; }
  __device__ int part(int unit) const { return in_packets() ? unit % 4 : unit / kRows; }
  __device__ bool in_packets() const { return p.in.x.strides.channel == 1; }
  __device__ static int unit(int i) { return static_cast<int>(threadIdx.x) + kThreads * i; }

  __device__ CubeForwardOp(const CubeForward<T>& parameters, int first_row, int column)
      : p(parameters), first_column(column) {
    at.start(p.lattice, 0);
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      places[i] = place_of(first_row + row(unit(i)), p.pixels, p.in.x.height, p.in.x.width);
    }
  }

  __device__ void fetch(int step, Fetched& fetched) {
    if (step > 0) at.advance(p.lattice);
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      const int k = part(unit(i)) * kPacket<T>;
      fetched[i].fetch(p.in, places[i], at.segment, at.first + k, step * kDepth<T> + k);
    }
  }

  __device__ void store(const Fetched& fetched, char* stage) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      write_packet(reinterpret_cast<T*>(stage) + row(unit(i)) * kPitch + part(unit(i)) * kPacket<T>,
                   fetched[i].pick(p.in, places[i], at.segment));
    }
  }

  __device__ void copy(int step, char* stage) {
    T* const to = reinterpret_cast<T*>(stage + kABytes);
#pragma unroll
    for (int i = 0; i < (kColumns * 4 + kThreads - 1) / kThreads; ++i) {
      const int column = unit(i) / 4, k = unit(i) % 4 * kPacket<T>;
      if (column >= kColumns) continue;
      __pipeline_memcpy_async(to + column * kPitch + k,
                              p.weight + static_cast<int64_t>(first_column + column) * p.depth + step * kDepth<T> + k,
                              16);
    }
  }

  Sums<T> sums[2][FN];

  __device__ void multiply(int, char* stage) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    Tile<T>::template multiply<kDepth<T>, true, true>(
        sums, reinterpret_cast<const T*>(stage) + warp / 2 * 32 * kPitch, kPitch,
        reinterpret_cast<const T*>(stage + kABytes) + warp % 2 * 16 * FN * kPitch, kPitch);
  }
};

template <typename T, int FN>
__global__ void __launch_bounds__(kThreads) cube_forward(CubeForward<T> p) {
  using Op = CubeForwardOp<T, FN>;
  char* const shared = shared_memory();
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * kRows;
  Op op(p, first_row, static_cast<int>(blockIdx.x) % p.column_tiles * Op::kColumns);
  clear<T>(op.sums);
  run_steps(op, 0, p.depth / kDepth<T>, shared, p.stages);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  write_sums<T>(op.sums, shared + warp * kTurnBytes<FN>, p.y, first_row + warp / 2 * 32, p.pixels,
                op.first_column + warp % 2 * 16 * FN, p.bias);
}

// Blocks are 96 or 128 outputs wide, whichever computes less in vain.
int64_t tile_width(int64_t outputs) { return up_to(outputs, 96) < up_to(outputs, 128) ? 96 : 128; }

template <typename T>
struct Places {
  T* weight;
  float* bias;
  int* channels;
  int64_t padded_outputs;
  int depth;
  int64_t bytes;
};

template <typename T>
Places<T> places_in(void* workspace, const CubeShape& shape) {
  Arena arena(workspace);
  Places<T> at;
  at.padded_outputs = up_to(shape.outputs, tile_width(shape.outputs));
  at.depth = depth_of(lattice_of(shape), kDepth<T>);
  at.weight = arena.take<T>(at.padded_outputs * at.depth);
  at.bias = arena.take<float>(at.padded_outputs);
  at.channels = arena.take<int>(at.depth);
  at.bytes = arena.bytes();
  return at;
}

template <typename T, int FN>
cudaError_t start(CubeForward<T> p, int64_t blocks, cudaStream_t stream) {
  using Op = CubeForwardOp<T, FN>;
  p.stages = 2;
  constexpr int64_t kTurn = kWarps * kTurnBytes<FN>, kStages = 2 * Op::kStageBytes;
  return launch(cube_forward<T, FN>, blocks, kThreads, kStages > kTurn ? kStages : kTurn, stream, p);
}

template <typename T, typename W>
cudaError_t forward(const CubeShape& shape, const CubeTensors& in, const void* bias, void* y, const Strides& y_strides,
                    void* workspace, cudaStream_t stream) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  if (pixels >= kMostPixels) return cudaErrorInvalidValue;
  if (pixels * shape.outputs == 0) return cudaSuccess;
  const Places<T> at = places_in<T>(workspace, shape);
  const CubeLattice lattice = lattice_of(shape);
  const int depth = at.depth, outputs = static_cast<int>(shape.outputs);
  const int padded = static_cast<int>(at.padded_outputs);
  float* const packed_bias = bias == nullptr ? nullptr : at.bias;
  cudaError_t error =
      launch_each(pack_weight<T, W>, at.padded_outputs * depth, stream, lattice, static_cast<const W*>(in.weight),
                  in.weight_strides, static_cast<const W*>(bias), outputs, padded, depth, at.weight, packed_bias);
  if (error != cudaSuccess) return error;
  error = name_channels(lattice, depth, kDepth<T>, in.order, at.channels, stream);
  if (error != cudaSuccess) return error;
  const int64_t width = tile_width(shape.outputs);
  const CubeForward<T> p = {lattice,
                            cube_input<T>(shape, in, at.channels),
                            at.weight,
                            packed_bias,
                            plane_of<T>(y, y_strides, shape.outputs, shape.height, shape.width),
                            static_cast<int>(pixels),
                            depth,
                            static_cast<int>(at.padded_outputs / width),
                            2};
  const int64_t blocks = up_to(pixels, kRows) / kRows * p.column_tiles;
  return width == 96 ? start<T, 3>(p, blocks, stream) : start<T, 4>(p, blocks, stream);
}

}  // namespace

cudaError_t name_channels(const CubeLattice& lattice, int depth, int step, const int64_t* order, int* channels,
                          cudaStream_t stream) {
  return launch_each(fill_channels, depth, stream, lattice, depth, step, order, channels);
}

int64_t cube_conv2d_workspace(const CubeShape& shape, Element element) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape).bytes; });
}

cudaError_t cube_conv2d(const CubeShape& shape, const CubeTensors& in, const void* bias, void* y,
                        const Strides& y_strides, void* workspace, cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return forward<decltype(type), decltype(weight)>(shape, in, bias, y, y_strides, workspace, stream);
  });
}

}  // namespace rotacube::cuda
