#pragma once

/// A session: one model on one device. It owns the weights and everything that executors share, and
/// evaluates; a Trainer (trainer.hpp) works on a session.
///
///   Session session(load_model_spec("seed-bn"), {.device = "cpu"});
///   session.initialize(/*seed=*/1);
///   DeviceImages images(session, dataset.test, "the test set");
///   Evaluator evaluator(session, images, first_indices(dataset.test.count));
///   const Evaluation result = evaluator.run();

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quern/autotune.hpp"
#include "quern/dataset.hpp"
#include "quern/device.hpp"
#include "quern/executor.hpp"
#include "quern/graph.hpp"
#include "quern/implementation.hpp"
#include "quern/model_spec.hpp"
#include "quern/plan.hpp"

namespace quern {

struct SessionOptions {
  std::string device = "auto";         ///< see open_device()
  int threads = 0;                     ///< 0: all cores
  std::optional<Precision> precision;  ///< empty: default_precision() of the device
  bool fuse = true;
  std::vector<std::string> impls;       ///< see parse_impl_choice(); each may be a comma-separated list
  bool allow_nondeterministic = false;  ///< see Device::allow_nondeterministic()
  ReplayOptions replay;                 ///< of every executor; read only where the device records graphs
};

/// tf32 on a GPU that has it (sm_80 and later), fp32 on all others, the CPU and the emulator.
Precision default_precision(const DeviceInfo& device) noexcept;

/// Each text is a comma-separated list of choices; see parse_impl_choice().
std::vector<ImplChoice> parse_impl_choices(const std::vector<std::string>& texts);

/// 0, 1, .. count - 1.
std::vector<std::uint32_t> first_indices(std::int64_t count);

class Session {
 public:
  /// Opens the device. Throws what open_device() throws, and an input error for a precision the device has
  /// not.
  Session(ModelSpec spec, const SessionOptions& options);
  /// On a device and with implementations of the caller's.
  Session(ModelSpec spec, const SessionOptions& options, std::unique_ptr<Device> device, Registry registry);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const ModelSpec& spec() const noexcept { return spec_; }
  const SessionOptions& options() const noexcept { return options_; }
  /// Of the options, or the device's default.
  Precision precision() const noexcept { return precision_; }
  const WeightLayout& layout() const noexcept { return layout_; }
  const Registry& registry() const noexcept { return registry_; }
  Device& device() noexcept { return *device_; }
  /// "cpu", "emu", "cuda:0": what opens this device again.
  std::string device_name() const;

  /// Initial weights drawn from the seed; the average, where the recipe has one, starts there too.
  void initialize(std::uint64_t seed);
  /// Weights and running statistics, flat in the order of layout().
  void set_weights(std::span<const float> weights);
  std::vector<float> weights();
  /// The average of the weights (f32[total]); empty when the recipe has none.
  void set_average(std::span<const float> average);
  std::vector<float> average();

  void* weights_address() const noexcept { return weights_.data(); }
  void* average_address() const noexcept { return average_.data(); }
  /// What evaluation uses: the average where the recipe has one, else the weights.
  void* evaluation_weights() const noexcept { return average_ ? average_.data() : weights_.data(); }

  /// Throws an input error unless the images fit the model: extents, and labels below the number of logits.
  /// `what` names them in messages ("the training set").
  void check_images(const Split& images, const char* what) const;

  /// Builds, plans, prepares and binds an executor. All executors of a session share one scratch buffer, so
  /// at most one of them may run at a time; this call may move that buffer and is not for the inside of a
  /// step. Throws a device error that says which batch would fit when the device's memory is too small.
  std::unique_ptr<Executor> make_executor(const GraphOptions& options, Bindings bindings);
  /// To be called before an executor made here goes away.
  void forget(const Executor* executor) noexcept;

  /// Copies, complete when the call returns.
  void upload(void* device, const void* host, std::size_t bytes);
  void download(void* host, const void* device, std::size_t bytes);

 private:
  void check_memory(const Executor& executor, const GraphOptions& options);

  struct Bound {
    Executor* executor;
    Bindings bindings;
  };
  ModelSpec spec_;
  SessionOptions options_;
  WeightLayout layout_;
  Registry registry_;
  std::unique_ptr<Device> device_;
  Precision precision_;
  std::optional<TimingCache> times_;  ///< read when the first executor is left to `--impl auto`
  Buffer weights_, average_, scratch_;
  std::vector<Bound> bound_;
};

/// An executor that leaves its session in order.
class SessionExecutor {
 public:
  SessionExecutor() = default;
  SessionExecutor(Session& session, const GraphOptions& options, Bindings bindings)
      : session_(&session), executor_(session.make_executor(options, std::move(bindings))) {}
  ~SessionExecutor() { reset(); }
  SessionExecutor(SessionExecutor&& other) noexcept
      : session_(other.session_), executor_(std::move(other.executor_)) {}
  SessionExecutor& operator=(SessionExecutor&& other) noexcept {
    if (this != &other) {
      reset();
      session_ = other.session_;
      executor_ = std::move(other.executor_);
    }
    return *this;
  }
  explicit operator bool() const noexcept { return executor_ != nullptr; }
  Executor* operator->() const noexcept { return executor_.get(); }
  Executor& operator*() const noexcept { return *executor_; }

 private:
  void reset() noexcept {
    if (executor_) session_->forget(executor_.get());
    executor_.reset();
  }
  Session* session_ = nullptr;
  std::unique_ptr<Executor> executor_;
};

/// Images where the device reads them. The host's copy must outlive this object: on the CPU it is what is
/// read.
class DeviceImages {
 public:
  DeviceImages(Session& session, const Split& images, const char* what);
  const Split& host() const noexcept { return *host_; }
  void* pixels() const noexcept { return pixels_; }
  void* labels() const noexcept { return labels_; }

 private:
  const Split* host_;
  Buffer pixel_buffer_, label_buffer_;
  void* pixels_ = nullptr;
  void* labels_ = nullptr;
};

struct Evaluation {
  double loss = 0;      ///< mean cross-entropy, without label smoothing
  double accuracy = 0;  ///< share of images whose largest logit is their class
  std::int64_t count = 0, correct = 0;
  std::int64_t classes = 0;
  std::vector<float> logits;  ///< [count, classes], in the order given; only when asked for
};

class Replay;

/// Evaluates a selection of images in large batches, the last one as small as it comes.
class Evaluator {
 public:
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;

  /// `order`: indices into `images`, which must outlive the evaluator. Throws an input error if it is empty.
  Evaluator(Session& session, const DeviceImages& images, std::span<const std::uint32_t> order,
            std::int64_t batch = kBatch);
  Evaluation run(bool keep_logits = false);

  static constexpr std::int64_t kBatch = 500;

 private:
  void pass(Evaluation& result, bool keep_logits);
  void fetch_logits(const Executor& executor, std::span<float> logits);

  Session& session_;

  std::int64_t count_ = 0, batch_ = 0;
  Buffer order_, steps_, step_, metrics_;
  SessionExecutor full_, tail_;
  std::unique_ptr<Replay> replay_;  ///< of a whole pass
  std::uint64_t recorded_ = 0;      ///< generations of the executors that it recorded
};

/// Softmax over `classes` logits each, in double.
std::vector<float> softmax(std::span<const float> logits, std::int64_t classes);

}  // namespace quern
