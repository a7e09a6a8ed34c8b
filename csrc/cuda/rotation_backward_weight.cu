// The rotation-invariant convolution on NVIDIA GPUs, backward to the weight: (channels x pixels) * (pixels x columns of
// Q). Some blocks share the pixels; their partial sums are added up in a fixed order.
#include "gemm_output.h"
#include "rotation_gather.h"

namespace rotacube::cuda {
namespace {

template <typename T>
struct RotationWeightGradient {
  RotationGradient<T> gradient;
  Plane<T> x;
  WeightTiles tiles;
  float* partial;
  int pixels, stages;
};

// Half of the threads gather Q, the others read x.
template <typename T, int FM>
struct RotationWeightGradientOp : WeightTile<T, FM> {
  using Base = WeightTile<T, FM>;
  static constexpr int kHalf = kThreads / 2;
  static constexpr int kAcross = Base::kRows / kPacket<T>;  // packets of a pixel of x
  static constexpr int kAUnits = kDepth<T> * kAcross / kHalf;
  static constexpr int kBAcross = kWeightColumns / kStepColumns<T> * 2;  // packets of each tap of a pixel of Q
  static_assert(kAUnits <= 4 && kDepth<T> * kBAcross == kHalf);
  using Fetched = RotationGather<T>;  // those who read x use its packets

  const RotationWeightGradient<T>& p;
  int first, end;  // pixels
  bool gathers;
  int depth, part, step_of_q;  // of the packets of Q

  __device__ explicit RotationWeightGradientOp(const RotationWeightGradient<T>& parameters) : p(parameters) {
    Base::begin(p.tiles);
    first = Base::split * p.tiles.span;
    end = first + p.tiles.span < p.pixels ? first + p.tiles.span : p.pixels;
    const int thread = static_cast<int>(threadIdx.x);
    const bool across = p.gradient.grad.strides.channel == 1;
    gathers = thread < kHalf;
    depth = across ? thread / kBAcross : thread % kDepth<T>;
    part = across ? thread % kBAcross : thread / kDepth<T>;
    step_of_q = Base::first_column / kStepColumns<T> + part / 2;
  }

  __device__ static int unit(int i) { return static_cast<int>(threadIdx.x) - kHalf + kHalf * i; }
  __device__ int a_depth(int unit) const { return p.x.strides.channel == 1 ? unit / kAcross : unit % kDepth<T>; }
  __device__ int a_part(int unit) const { return p.x.strides.channel == 1 ? unit % kAcross : unit / kDepth<T>; }

  __device__ void fetch(int step, Fetched& fetched) {
    const int pixel = first + step * kDepth<T>;
    if (gathers) {
      const int stop = step_of_q < p.gradient.steps.count() ? end : 0;
      fetched.fetch(p.gradient, place_of(pixel + depth, stop, p.x.height, p.x.width), step_of_q, part % 2);
      return;
    }
#pragma unroll
    for (int i = 0; i < kAUnits; ++i) {
      fetched.packet[i] = Packet{};
      const Place place = place_of(pixel + a_depth(unit(i)), end, p.x.height, p.x.width);
      int64_t offset;
      if (p.x.find(place, 0, 0, offset)) {
        fetched.packet[i] = p.x.read_channels(offset, Base::first_row + a_part(unit(i)) * kPacket<T>);
      }
    }
  }

  __device__ void store(const Fetched& fetched, char* stage) {
    if (gathers) {
      fetched.write(p.gradient, step_of_q,
                    Base::b_at(stage, depth, part / 2 * kStepColumns<T> + part % 2 * kPacket<T>));
      return;
    }
#pragma unroll
    for (int i = 0; i < kAUnits; ++i) {
      write_packet(Base::a_at(stage, a_depth(unit(i)), a_part(unit(i)) * kPacket<T>), fetched.packet[i]);
    }
  }
};

template <typename T, int FM>
__global__ void __launch_bounds__(kThreads) rotation_weight_gradient(RotationWeightGradient<T> p) {
  RotationWeightGradientOp<T, FM> op(p);
  run_steps(op, 0, (op.end - op.first + kDepth<T> - 1) / kDepth<T>, shared_memory(), p.stages);
  op.write(p.tiles, p.partial);
}

template <typename W>
__global__ void add_up_taps(GatherSteps steps, const float* partial, WeightTiles tiles, int channels, int64_t count,
                            W* grad_weight) {
  const int64_t i = thread_number();
  if (i >= count) return;
  const int taps = steps.orbits.kernel * steps.orbits.kernel;  // neighbouring threads read neighbouring outputs
  const int output = static_cast<int>(i % steps.outputs), tap = static_cast<int>(i / steps.outputs % taps);
  const int64_t channel = i / steps.outputs / taps;
  grad_weight[(output * static_cast<int64_t>(channels) + channel) * taps + tap] =
      narrow<W>(add_up(partial, tiles, channel, steps.column(tap, output)));
}

// Blocks take 64 or 128 channels, whichever computes less in vain.
int64_t tile_height(int64_t channels) { return up_to(channels, 64) < up_to(channels, 128) ? 64 : 128; }

struct Places {
  float* partial;
  WeightTiles tiles;
  int64_t bytes;
};

template <typename T>
Places places_in(void* workspace, const RotationShape& shape) {
  Arena arena(workspace);
  Places at;
  const GatherSteps steps = {{static_cast<int>(shape.kernel)}, static_cast<int>(shape.outputs), kStepOutputs<T>};
  at.tiles = weight_tiles(shape.channels, tile_height(shape.channels), int64_t{steps.count()} * kStepColumns<T>,
                          shape.batch * shape.height * shape.width, kDepth<T>);
  at.partial = arena.take<float>(at.tiles.partial_sums());
  at.bytes = arena.bytes();
  return at;
}

template <typename T, typename W>
cudaError_t backward(const RotationShape& shape, const RotationTensors& in, const void* grad,
                     const Strides& grad_strides, const int32_t* index, void* grad_weight, void* workspace,
                     cudaStream_t stream) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  if (pixels >= kMostPixels || shape.batch * shape.out_height() * shape.out_width() >= kMostPixels ||
      shape.kernel < 3 || shape.kernel > 7) {
    return cudaErrorInvalidValue;
  }
  const int64_t count = shape.outputs * shape.channels * shape.kernel * shape.kernel;
  if (count == 0) return cudaSuccess;
  if (pixels == 0) return cudaMemsetAsync(grad_weight, 0, static_cast<std::size_t>(count) * sizeof(W), stream);
  const Places at = places_in<T>(workspace, shape);
  const RotationWeightGradient<T> p = {rotation_gradient<T>(shape, grad, grad_strides, index),
                                       plane_of<T>(in.x, in.x_strides, shape.channels, shape.height, shape.width),
                                       at.tiles,
                                       at.partial,
                                       static_cast<int>(pixels),
                                       2};
  const cudaError_t error = tile_height(shape.channels) == 64
                                ? launch(rotation_weight_gradient<T, 2>, at.tiles.blocks(), kThreads,
                                         2 * WeightTile<T, 2>::kStageBytes, stream, p)
                                : launch(rotation_weight_gradient<T, 4>, at.tiles.blocks(), kThreads,
                                         2 * WeightTile<T, 4>::kStageBytes, stream, p);
  if (error != cudaSuccess) return error;
  return launch_each(add_up_taps<W>, count, stream, p.gradient.steps, static_cast<const float*>(at.partial), at.tiles,
                     static_cast<int>(shape.channels), count, static_cast<W*>(grad_weight));
}

}  // namespace

int64_t rotation_backward_weight_workspace(const RotationShape& shape, Element element) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape).bytes; });
}

cudaError_t rotation_backward_weight(const RotationShape& shape, const RotationTensors& in, const void* grad,
                                     const Strides& grad_strides, const int32_t* index, void* grad_weight,
                                     void* workspace, cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return backward<decltype(type), decltype(weight)>(shape, in, grad, grad_strides, index, grad_weight, workspace,
                                                      stream);
  });
}

}  // namespace rotacube::cuda
