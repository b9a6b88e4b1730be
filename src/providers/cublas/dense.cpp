// Dense layers through cuBLASLt: one product each, bias, ReLU and the bias's gradient inside it.

#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <utility>

#include "device/cuda_error.hpp"
#include "kernels/cast.cuh"
#include "providers/cublas/matmul.hpp"
#include "quern/error.hpp"

namespace quern::cublas {

namespace {

/// cuBLASLt uses at most this much; NVIDIA's advice for Hopper and later.
constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;

/// The handle of a GPU, made on first use and never destroyed: when static objects are, the driver may
/// already be gone.
cublasLtHandle_t handle_of(int device_index) {
  static std::mutex mutex;
  static auto& handles = *new std::map<int, cublasLtHandle_t>;
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device_index];
  if (handle == nullptr) {
    check_cuda(cudaSetDevice(device_index), "cudaSetDevice");
    QUERN_CUBLAS(cublasLtCreate, &handle);
  }
  return handle;
}

class Layout {
 public:
  explicit Layout(const Matrix& matrix) {
    QUERN_CUBLAS(cublasLtMatrixLayoutCreate, &raw_, matrix.type, static_cast<std::uint64_t>(matrix.rows),
                 static_cast<std::uint64_t>(matrix.columns), matrix.rows);
  }
  ~Layout() { library().cublasLtMatrixLayoutDestroy(raw_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t get() const noexcept { return raw_; }

 private:
  cublasLtMatrixLayout_t raw_ = nullptr;
};

class Product {
 public:
  explicit Product(const Matmul& matmul) {
    QUERN_CUBLAS(cublasLtMatmulDescCreate, &raw_, matmul.compute, CUDA_R_32F);
    const auto op = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    set(CUBLASLT_MATMUL_DESC_TRANSA, op(matmul.a.transposed));
    set(CUBLASLT_MATMUL_DESC_TRANSB, op(matmul.b.transposed));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, matmul.epilogue);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, matmul.bias);
  }
  ~Product() { library().cublasLtMatmulDescDestroy(raw_); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value) {
    QUERN_CUBLAS(cublasLtMatmulDescSetAttribute, raw_, name, &value, sizeof(T));
  }
  cublasLtMatmulDesc_t get() const noexcept { return raw_; }

 private:
  cublasLtMatmulDesc_t raw_ = nullptr;
};

class Preference {
 public:
  explicit Preference(bool nondeterministic) {
    QUERN_CUBLAS(cublasLtMatmulPreferenceCreate, &raw_);
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction_schemes(nondeterministic));
  }
  ~Preference() { library().cublasLtMatmulPreferenceDestroy(raw_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  cublasLtMatmulPreference_t get() const noexcept { return raw_; }

 private:
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t name, const T& value) {
    QUERN_CUBLAS(cublasLtMatmulPreferenceSetAttribute, raw_, name, &value, sizeof(T));
  }
  cublasLtMatmulPreference_t raw_ = nullptr;
};

/// Descriptors of a product and the algorithm that the library thinks best.
class MatmulPlan {
 public:
  MatmulPlan(const OpDesc& desc, const DeviceInfo& device)
      : matmul_(matmul_of(desc)),
        handle_(handle_of(device.index)),
        product_(matmul_),
        a_(matmul_.a),
        b_(matmul_.b),
        d_(matmul_.d) {
    const Preference preference(device.allow_nondeterministic);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status = library().cublasLtMatmulAlgoGetHeuristic(
        handle_, product_.get(), a_.get(), b_.get(), d_.get(), d_.get(), preference.get(), 1, &best, &found);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0 || best.state != CUBLAS_STATUS_SUCCESS)
      failure_ =
          fmt::format("cuBLASLt has no algorithm for it ({})", library().cublasLtGetStatusString(status));
    algorithm_ = best.algo;
    workspace_bytes_ = best.workspaceSize;
  }

  /// Empty: there is an algorithm.
  const std::string& failure() const noexcept { return failure_; }
  const Matmul& matmul() const noexcept { return matmul_; }
  std::size_t workspace_bytes() const noexcept { return workspace_bytes_; }

  void run(const void* a, const void* b, void* d, void* bias, void* workspace, Stream stream) {
    if (bias != bias_) {
      product_.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
      bias_ = bias;
    }
    const float one = 1, zero = 0;
    QUERN_CUBLAS(cublasLtMatmul, handle_, product_.get(), &one, a, a_.get(), b, b_.get(), &zero, d, d_.get(),
                 d, d_.get(), &algorithm_, workspace, workspace_bytes_,
                 static_cast<cudaStream_t>(stream.handle));
  }

 private:
  Matmul matmul_;
  cublasLtHandle_t handle_;
  Product product_;
  Layout a_, b_, d_;
  cublasLtMatmulAlgo_t algorithm_{};
  std::size_t workspace_bytes_ = 0;
  std::string failure_;
  void* bias_ = nullptr;
};

class DenseExecutable final : public Executable {
 public:
  DenseExecutable(const OpDesc& desc, Device& device)
      : plan_(desc, device.info()),
        direction_(desc.op.direction),
        bias_(desc.as<DenseAttrs>().bias && direction_ != Direction::backward_data) {
    if (!plan_.failure().empty()) fail_device("cublas: {}", plan_.failure());
    bytes_ = aligned(plan_.workspace_bytes());
    if (plan_.matmul().cast_weights) {
      weights_ = desc.inputs[1].elements();
      cast_weights_ = bytes_;
      bytes_ += aligned(static_cast<std::size_t>(weights_) * size_of(DType::bf16));
    }
    if (plan_.matmul().cast_bias) {
      units_ = desc.inputs[2].elements();
      cast_bias_ = bytes_;
      bytes_ += aligned(static_cast<std::size_t>(units_) * size_of(DType::bf16));
    }
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    if (direction_ == Direction::backward_weights) {
      plan_.run(args.in[1], args.in[0], args.out[0], bias_ ? args.out[1] : nullptr, args.workspace,
                args.stream);
      return;
    }
    const auto cast = [&](void* from, std::size_t offset, std::int64_t elements) -> void* {
      void* const to = static_cast<std::byte*>(args.workspace) + offset;
      kernels::cuda::cast_to_bf16({from, to, elements}, args.stream);
      return to;
    };
    const Matmul& matmul = plan_.matmul();
    void* const weights = matmul.cast_weights ? cast(args.in[1], cast_weights_, weights_) : args.in[1];
    void* bias = bias_ ? args.in[2] : nullptr;
    if (matmul.cast_bias) bias = cast(bias, cast_bias_, units_);
    plan_.run(weights, args.in[0], args.out[0], bias, args.workspace, args.stream);
  }

 private:
  static std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  MatmulPlan plan_;
  Direction direction_;
  bool bias_;
  std::int64_t weights_ = 0, units_ = 0;
  std::size_t cast_weights_ = 0, cast_bias_ = 0, bytes_ = 0;
};

/// On a GPU that is here the library is asked as well.
Refusal refuse(const OpDesc& desc, const DeviceInfo& device) {
  if (auto reason = refuse_dense(desc, device)) return reason;
  if (!device.present) return {};
  if (auto reason = library_refusal()) return reason;
  try {
    const MatmulPlan plan(desc, device);
    return plan.failure().empty() ? Refusal() : plan.failure();
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

}  // namespace quern::cublas

namespace quern {

void add_cublas(Registry& registry) {
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
    Implementation implementation;
    implementation.name = "lt";
    implementation.provider = Provider::cublas;
    implementation.op = {OpKind::dense, direction};
    implementation.device = DeviceKind::cuda;
    implementation.refusal = cublas::refuse;
    implementation.prepare = [](const OpDesc& desc, Device& device) -> std::unique_ptr<Executable> {
      return std::make_unique<cublas::DenseExecutable>(desc, device);
    };
    registry.add(std::move(implementation));
  }
  add_backward_pairs(registry, Provider::cublas, DeviceKind::cuda);
}

}  // namespace quern
