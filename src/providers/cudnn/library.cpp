#include "providers/cudnn/library.hpp"

#include "providers/nvidia/dynamic_library.hpp"
#include "quern/error.hpp"

namespace quern::cudnn {

namespace {

struct Loaded {
  Library functions;
  std::string failure;
};

Loaded load() {
  Loaded loaded;
  const auto opened = DynamicLibrary::open(
      {fmt::format("libcudnn.so.{}", CUDNN_MAJOR),
       "QUERN_CUDNN_PATH",
       {QUERN_CUDNN_FOLDERS},
       "cudnn",
       fmt::format("install cuDNN {} (libcudnn{}-cuda-{}, or pip install nvidia-cudnn-cu{})", CUDNN_MAJOR,
                   CUDNN_MAJOR, QUERN_CUDA_MAJOR, QUERN_CUDA_MAJOR)},
      loaded.failure);
  if (!opened) return loaded;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(opened->symbol(name));
    if (function == nullptr && loaded.failure.empty())
      loaded.failure = fmt::format("{} has no {}: it is not the cuDNN that this program was built for (9.x)",
                                   opened->path(), name);
  };
#define QUERN_CUDNN_FIND(name) find(loaded.functions.name, #name);
  QUERN_CUDNN_FUNCTIONS(QUERN_CUDNN_FIND)
#undef QUERN_CUDNN_FIND
  return loaded;
}

const Loaded& loaded() {
  static const Loaded instance = load();
  return instance;
}

}  // namespace

Refusal library_refusal() {
  if (loaded().failure.empty()) return {};
  return loaded().failure;
}

const Library& library() {
  if (!loaded().failure.empty()) fail_device("cudnn: {}", loaded().failure);
  return loaded().functions;
}

void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) [[unlikely]]
    fail_device("cudnn: {} failed: {}", call, library().cudnnGetErrorString(status));
}

}  // namespace quern::cudnn
