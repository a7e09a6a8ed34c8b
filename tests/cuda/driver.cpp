// Runs the CUDA kernels on the emulator, for one case from a file.
//
// The file holds numbers (int64) and buffers (a number of bytes, then those), in the order in which they are read
// below. Each buffer gets a heap block of its exact size, so that AddressSanitizer sees whatever is read or written
// outside. What the kernels wrote goes to another file. Exit status 2: the kernels refused.
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../csrc/cuda/cube_conv2d.h"
#include "../../csrc/cuda/involution.h"
#include "../../csrc/cuda/kronecker.h"
#include "../../csrc/cuda/rotation_conv2d.h"

using namespace rotacube;

namespace {

class Block {  // of an exact size, poisoned
 public:
  explicit Block(int64_t bytes) : bytes_(bytes) {
    if (bytes_ >= 0 && posix_memalign(&data_, 256, static_cast<std::size_t>(bytes_ + (bytes_ == 0))) != 0)
      throw std::bad_alloc();
    std::memset(data_, 0xff, static_cast<std::size_t>(bytes_));
  }
  Block(const Block&) = delete;
  ~Block() { std::free(data_); }
  char* data() const { return static_cast<char*>(data_); }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_;
};

class Input {
 public:
  explicit Input(const std::string& path) : file_(path, std::ios::binary) {}

  int64_t number() {
    int64_t value;
    file_.read(reinterpret_cast<char*>(&value), sizeof(value));
    if (!file_) throw std::runtime_error("the case ends early");
    return value;
  }

  // A tensor's storage, and a pointer to its first element; null where there is none.
  char* tensor() {
    const int64_t bytes = number();
    if (bytes < 0) return nullptr;
    const int64_t offset = number();
    kept_.push_back(std::make_unique<Block>(bytes));
    file_.read(kept_.back()->data(), bytes);
    return kept_.back()->data() + offset;
  }

  Strides strides() {
    const int64_t batch = number(), channel = number(), row = number(), column = number();
    return {batch, channel, row, column};
  }

  // An output of the kernels, dense: null where it is not wanted.
  char* output() {
    const int64_t bytes = number();
    if (bytes < 0) return nullptr;
    outputs.push_back(std::make_unique<Block>(bytes));
    return outputs.back()->data();
  }

  std::vector<std::unique_ptr<Block>> outputs;

 private:
  std::ifstream file_;
  std::vector<std::unique_ptr<Block>> kept_;
};

cuda::CubeTensors cube_tensors(Input& in, cuda::Element element) {
  cuda::CubeTensors tensors{};
  tensors.element = element;
  tensors.wide_weight = in.number() != 0;
  tensors.x = in.tensor();
  tensors.x_strides = in.strides();
  tensors.weight = in.tensor();
  tensors.weight_strides = in.strides();
  tensors.order = reinterpret_cast<const int64_t*>(in.tensor());
  tensors.mask = in.tensor();
  tensors.mask_strides = in.strides();
  return tensors;
}

cudaError_t cube(Input& in, cuda::Element element) {
  CubeShape shape{};
  shape.batch = in.number();
  shape.channels = in.number();
  shape.height = in.number();
  shape.width = in.number();
  shape.outputs = in.number();
  shape.kernel = in.number();
  shape.bottom_right = in.number() != 0;
  const cuda::CubeTensors tensors = cube_tensors(in, element);
  const bool backward = in.number() != 0;
  if (!backward) {
    const char* bias = in.tensor();
    char* y = in.output();
    const Strides y_strides = in.strides();
    const Block workspace(cuda::cube_conv2d_workspace(shape, element));
    return cuda::cube_conv2d(shape, tensors, bias, y, y_strides, workspace.data(), nullptr);
  }
  const char* grad = in.tensor();
  const Strides grad_strides = in.strides();
  char* const grad_x = in.output();
  const Strides grad_x_strides = in.strides();
  char* const grad_mask = in.output();
  char* const grad_weight = in.output();
  if (grad_x != nullptr || grad_mask != nullptr) {
    const Block workspace(cuda::cube_conv2d_backward_input_workspace(shape, element, grad_mask != nullptr));
    const cudaError_t error = cuda::cube_conv2d_backward_input(shape, tensors, grad, grad_strides, grad_x,
                                                               grad_x_strides, grad_mask, workspace.data(), nullptr);
    if (error != cudaSuccess) return error;
  }
  if (grad_weight == nullptr) return cudaSuccess;
  const Block workspace(cuda::cube_conv2d_backward_weight_workspace(shape, element));
  return cuda::cube_conv2d_backward_weight(shape, tensors, grad, grad_strides, grad_weight, workspace.data(), nullptr);
}

cudaError_t rotation(Input& in, cuda::Element element) {
  RotationShape shape{};
  shape.batch = in.number();
  shape.channels = in.number();
  shape.height = in.number();
  shape.width = in.number();
  shape.outputs = in.number();
  shape.kernel = in.number();
  shape.padding = in.number();
  shape.rotations = in.number();
  cuda::RotationTensors tensors{};
  tensors.element = element;
  tensors.wide_weight = in.number() != 0;
  tensors.x = in.tensor();
  tensors.x_strides = in.strides();
  tensors.weight = in.tensor();
  tensors.weight_strides = in.strides();
  const int64_t pass = in.number();  // 0: scatter, 1: Fourier, 2: backward
  if (pass < 2) {
    const char* bias = in.tensor();
    char* const y = in.output();
    const Strides y_strides = in.strides();
    auto* const index = reinterpret_cast<int32_t*>(in.output());
    const Block workspace(pass == 0 ? cuda::rotation_scatter_workspace(shape, element)
                                    : cuda::rotation_fourier_workspace(shape, element));
    const auto run = pass == 0 ? cuda::rotation_scatter : cuda::rotation_fourier;
    return run(shape, tensors, bias, y, y_strides, index, workspace.data(), nullptr);
  }
  const char* grad = in.tensor();
  const Strides grad_strides = in.strides();
  const auto* const index = reinterpret_cast<const int32_t*>(in.tensor());
  char* const grad_x = in.output();
  const Strides grad_x_strides = in.strides();
  char* const grad_weight = in.output();
  const Block workspace(cuda::rotation_backward_input_workspace(shape, element));
  const cudaError_t error = cuda::rotation_backward_input(shape, tensors, grad, grad_strides, index, grad_x,
                                                          grad_x_strides, workspace.data(), nullptr);
  if (error != cudaSuccess) return error;
  const Block other(cuda::rotation_backward_weight_workspace(shape, element));
  return cuda::rotation_backward_weight(shape, tensors, grad, grad_strides, index, grad_weight, other.data(), nullptr);
}

cudaError_t kronecker(Input& in, cuda::Element element) {
  KroneckerShape shape{};
  shape.maps = in.number();
  shape.outer = in.number();
  shape.inner = in.number();
  cuda::KroneckerMaps maps{};
  for (int64_t j = 0; j < shape.maps; ++j) maps.at[j] = in.tensor();
  const char* const weight = in.tensor();
  const bool wide_weight = in.number() != 0;
  const char* const grad = in.tensor();
  if (grad == nullptr) return cuda::kronecker_fusion(shape, element, maps, weight, wide_weight, in.output(), nullptr);
  cuda::KroneckerGrads grads{};
  for (int64_t j = 0; j < shape.maps; ++j) grads.at[j] = in.output();
  char* const grad_weight = in.output();
  const Block partials(grad_weight != nullptr ? cuda::kronecker_partials(shape) * 4 : 0);
  return cuda::kronecker_fusion_backward(shape, element, grad, maps, weight, wide_weight, grads, grad_weight,
                                         reinterpret_cast<float*>(partials.data()), nullptr);
}

cudaError_t involution(Input& in, cuda::Element element) {
  InvolutionShape shape{};
  shape.batch = in.number();
  shape.channels = in.number();
  shape.height = in.number();
  shape.width = in.number();
  shape.groups = in.number();
  shape.kernel = in.number();
  shape.channels_last = in.number() != 0;
  const char* const x = in.tensor();
  const char* const kernel = in.tensor();
  const char* const grad = in.tensor();
  if (grad == nullptr) return cuda::involution2d(shape, element, x, kernel, in.output(), nullptr);
  char* const grad_x = in.output();
  return cuda::involution2d_backward(shape, element, grad, x, kernel, grad_x, in.output(), nullptr);
}

}  // namespace

int main(int, char** arguments) {
  Input in(arguments[1]);
  emulator::machine().shared_limit = static_cast<std::size_t>(in.number());
  const int64_t operation = in.number();
  const auto element = static_cast<cuda::Element>(in.number());
  constexpr decltype(&cube) kOperations[] = {cube, rotation, kronecker, involution};
  const cudaError_t error = kOperations[operation](in, element);
  if (error != cudaSuccess) return 2;
  std::ofstream out(arguments[2], std::ios::binary);
  for (const auto& block : in.outputs) out.write(block->data(), block->bytes());
  return 0;
}
