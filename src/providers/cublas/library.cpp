#include "providers/cublas/library.hpp"

#include "providers/nvidia/dynamic_library.hpp"
#include "quern/error.hpp"

namespace quern::cublas {

namespace {

struct Loaded {
  Library functions;
  std::string failure;
};

Loaded load() {
  Loaded loaded;
  const auto opened = DynamicLibrary::open(
      {fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR),
       "QUERN_CUBLAS_PATH",
       {QUERN_CUBLAS_FOLDERS},
       "cublas",
       fmt::format("install cuBLAS {} (it comes with the CUDA Toolkit, and with pip install nvidia-cublas)",
                   CUBLAS_VER_MAJOR)},
      loaded.failure);
  if (!opened) return loaded;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(opened->symbol(name));
    if (function == nullptr && loaded.failure.empty())
      loaded.failure =
          fmt::format("{} has no {}: it is not the cuBLAS that this program was built for ({}.x)",
                      opened->path(), name, CUBLAS_VER_MAJOR);
  };
#define QUERN_CUBLAS_FIND(name) find(loaded.functions.name, #name);
  QUERN_CUBLAS_FUNCTIONS(QUERN_CUBLAS_FIND)
#undef QUERN_CUBLAS_FIND
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
  if (!loaded().failure.empty()) fail_device("cublas: {}", loaded().failure);
  return loaded().functions;
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    fail_device("cublas: {} failed: {}", call, library().cublasLtGetStatusString(status));
}

}  // namespace quern::cublas
