// The rotation-invariant convolution on NVIDIA GPUs, backward to the input: Q, gathered into shared memory, times the
// weight.
#include "gemm_output.h"
#include "rotation_gather.h"

namespace rotacube::cuda {
namespace {

constexpr int kRows = 128;  // pixels of a block

template <typename T>
struct RotationInputGradient {
  RotationGradient<T> gradient;
  const T* weight;  // (columns of Q, padded channels), filled up with zeros
  Plane<T> grad_x;
  int pixels, padded_channels, column_tiles, stages;
};

template <typename T, typename W>
__global__ void pack_by_steps(GatherSteps steps, const W* weight, Strides strides, int channels, int padded_channels,
                              int64_t count, T* packed) {
  const int64_t i = thread_number();
  if (i >= count) return;
  const int channel = static_cast<int>(i % padded_channels);
  int tap, output;
  steps.find(static_cast<int>(i / padded_channels), tap, output);
  T value = narrow<T>(0.0f);
  if (output < steps.outputs && channel < channels) {
    value = read_tap<T>(weight, strides, output, channel, tap, steps.orbits.kernel);
  }
  packed[i] = value;
}

template <typename T, int FN>
struct RotationInputGradientOp {
  static constexpr int kColumns = 32 * FN, kDeep = kStepColumns<T>;
  static constexpr int kAPitch = kDeep + kPacket<T>, kBPitch = kColumns + kPacket<T>;
  static constexpr int kABytes = kRows * kAPitch * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kABytes + kDeep * kBPitch * static_cast<int>(sizeof(T));
  using Fetched = RotationGather<T>;
  static_assert(kRows * 2 == kThreads);  // a thread gathers one packet of each tap

  const RotationInputGradient<T>& p;
  int first_column, row, part, step_fetched;
  Place place;
  Sums<T> sums[2][FN];

  __device__ RotationInputGradientOp(const RotationInputGradient<T>& parameters, int first_row, int column)
      : p(parameters), first_column(column) {
    const int thread = static_cast<int>(threadIdx.x);
    const bool across = p.gradient.grad.strides.channel == 1;
    row = across ? thread / 2 : thread % kRows;
    part = across ? thread % 2 : thread / kRows;
    place = place_of(first_row + row, p.pixels, p.grad_x.height, p.grad_x.width);
    clear<T>(sums);
  }

  __device__ void fetch(int step, Fetched& fetched) {
    step_fetched = step;
    fetched.fetch(p.gradient, place, step, part);
  }

  __device__ void store(const Fetched& fetched, char* stage) {
    fetched.write(p.gradient, step_fetched, reinterpret_cast<T*>(stage) + row * kAPitch + part * kPacket<T>);
  }

  __device__ void copy(int step, char* stage) {
    constexpr int kAcross = kColumns / kPacket<T>;
    static_assert(kDeep * kAcross % kThreads == 0);
#pragma unroll
    for (int i = 0; i < kDeep * kAcross / kThreads; ++i) {
      const int unit = static_cast<int>(threadIdx.x) + kThreads * i;
      const int k = unit / kAcross, column = unit % kAcross * kPacket<T>;
      __pipeline_memcpy_async(
          reinterpret_cast<T*>(stage + kABytes) + k * kBPitch + column,
          p.weight + (static_cast<int64_t>(step) * kDeep + k) * p.padded_channels + first_column + column, 16);
    }
  }

  __device__ void multiply(int, char* stage) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    Tile<T>::template multiply<kDeep, true, false>(
        sums, reinterpret_cast<const T*>(stage) + warp / 2 * 32 * kAPitch, kAPitch,
        reinterpret_cast<const T*>(stage + kABytes) + warp % 2 * 16 * FN, kBPitch);
  }
};

template <typename T, int FN>
__global__ void __launch_bounds__(kThreads) rotation_input_gradient(RotationInputGradient<T> p) {
  using Op = RotationInputGradientOp<T, FN>;
  char* const shared = shared_memory();
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * kRows;
  Op op(p, first_row, static_cast<int>(blockIdx.x) % p.column_tiles * Op::kColumns);
  run_steps(op, 0, p.gradient.steps.count(), shared, p.stages);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  write_sums<T>(op.sums, shared + warp * kTurnBytes<FN>, p.grad_x, first_row + warp / 2 * 32, p.pixels,
                op.first_column + warp % 2 * 16 * FN, nullptr);
}

// Blocks are 64 or 128 channels wide, whichever computes less in vain.
int64_t tile_width(int64_t channels) { return up_to(channels, 64) < up_to(channels, 128) ? 64 : 128; }

template <typename T>
struct Places {
  T* weight;
  int64_t padded_channels, weights, bytes;
};

template <typename T>
Places<T> places_in(void* workspace, const RotationShape& shape) {
  Arena arena(workspace);
  Places<T> at;
  const GatherSteps steps = {{static_cast<int>(shape.kernel)}, static_cast<int>(shape.outputs), kStepOutputs<T>};
  at.padded_channels = up_to(shape.channels, tile_width(shape.channels));
  at.weights = at.padded_channels * steps.count() * kStepColumns<T>;
  at.weight = arena.take<T>(at.weights);
  at.bytes = arena.bytes();
  return at;
}

template <typename T, int FN>
cudaError_t start(RotationInputGradient<T> p, cudaStream_t stream) {
  using Op = RotationInputGradientOp<T, FN>;
  constexpr int64_t kTurn = kWarps * kTurnBytes<FN>;
  const cudaError_t error = choose_stages(Op::kStageBytes, &p.stages);
  if (error != cudaSuccess) return error;
  const int64_t stages = int64_t{p.stages} * Op::kStageBytes;
  return launch(rotation_input_gradient<T, FN>, up_to(p.pixels, kRows) / kRows * p.column_tiles, kThreads,
                stages > kTurn ? stages : kTurn, stream, p);
}

template <typename T, typename W>
cudaError_t backward(const RotationShape& shape, const RotationTensors& in, const void* grad,
                     const Strides& grad_strides, const int32_t* index, void* grad_x, const Strides& grad_x_strides,
                     void* workspace, cudaStream_t stream) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  if (pixels >= kMostPixels || shape.batch * shape.out_height() * shape.out_width() >= kMostPixels ||
      shape.kernel < 3 || shape.kernel > 7) {
    return cudaErrorInvalidValue;
  }
  if (pixels * shape.channels == 0) return cudaSuccess;
  const Places<T> at = places_in<T>(workspace, shape);
  const int64_t width = tile_width(shape.channels);
  const RotationInputGradient<T> p = {rotation_gradient<T>(shape, grad, grad_strides, index),
                                      at.weight,
                                      plane_of<T>(grad_x, grad_x_strides, shape.channels, shape.height, shape.width),
                                      static_cast<int>(pixels),
                                      static_cast<int>(at.padded_channels),
                                      static_cast<int>(at.padded_channels / width),
                                      2};
  const cudaError_t error = launch_each(
      pack_by_steps<T, W>, at.weights, stream, p.gradient.steps, static_cast<const W*>(in.weight), in.weight_strides,
      static_cast<int>(shape.channels), static_cast<int>(at.padded_channels), at.weights, at.weight);
  if (error != cudaSuccess) return error;
  return width == 64 ? start<T, 2>(p, stream) : start<T, 4>(p, stream);
}

}  // namespace

int64_t rotation_backward_input_workspace(const RotationShape& shape, Element element) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape).bytes; });
}

cudaError_t rotation_backward_input(const RotationShape& shape, const RotationTensors& in, const void* grad,
                                    const Strides& grad_strides, const int32_t* index, void* grad_x,
                                    const Strides& grad_x_strides, void* workspace, cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return backward<decltype(type), decltype(weight)>(shape, in, grad, grad_strides, index, grad_x, grad_x_strides,
                                                      workspace, stream);
  });
}

}  // namespace rotacube::cuda
