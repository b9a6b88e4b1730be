#pragma once

/// Providers and their implementations: one ordered table per operation, best first.
/// An implementation is a plain value; asked to, it prepares an executable for one OpDesc on one device.

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/device.hpp"
#include "quern/op.hpp"

namespace quern {

enum class Provider : std::uint8_t { reference, onednn, custom, cudnn, cublas, user };
const char* to_string(Provider provider) noexcept;

/// Operand addresses in the slot order of op.hpp, and a 256-byte-aligned scratch buffer that nobody keeps.
struct RunArgs {
  std::span<void* const> in;
  std::span<void* const> out;
  void* workspace = nullptr;
  Stream stream;
};

/// Work that can be cut along the first axis of its large operands, the images of a batch: a chain
/// (graph/chain.hpp) runs a few images through several operations before it turns to the next few, so that
/// what one writes the next finds in cache. A run is prepare(), each phase for all parts before any part of
/// the next; then run_images() over the images of every part, in order; then finish(). The results are those
/// of Executable::run(), to the bit, wherever the cuts are.
class ImageWise {
 public:
  /// Runs phase(part, phase) for all parts of one phase before any part of the next. Only operations of the
  /// same team make a chain.
  using Team = void (*)(int parts, int phases, const std::function<void(int part, int phase)>& phase);

  virtual ~ImageWise() = default;
  virtual Team team() const = 0;
  /// Part p has the images [images * p / parts, images * (p + 1) / parts); images are a multiple of parts in
  /// a chain.
  virtual int parts() const = 0;
  virtual std::int64_t images() const = 0;
  /// Input slots that run_images() alone reads, output slots that it alone writes, at no other images than
  /// those it is asked for.
  virtual bool reads_by_image(std::size_t slot) const = 0;
  virtual bool writes_by_image(std::size_t slot) const = 0;
  /// What a part comes back to with every cut: weights, sums, scratch.
  virtual std::size_t resident_bytes() const { return 0; }
  /// Cuts of a multiple of so many images cost least.
  virtual std::int64_t granule() const { return 1; }

  virtual int prepare_phases() const { return 0; }
  virtual int finish_phases() const { return 0; }
  virtual void prepare(const RunArgs& /*args*/, int /*phase*/, int /*part*/) {}
  virtual void run_images(const RunArgs& args, int part, std::int64_t begin, std::int64_t end) = 0;
  virtual void finish(const RunArgs& /*args*/, int /*phase*/, int /*part*/) {}
};

/// An implementation made ready for one operation: primitives created, constants laid out. `run` allocates
/// nothing, chooses nothing and does not synchronise.
class Executable {
 public:
  virtual ~Executable() = default;
  virtual std::size_t workspace_bytes() const { return 0; }
  virtual void run(const RunArgs& args) = 0;
  /// Null: runs as a whole.
  virtual ImageWise* image_wise() { return nullptr; }
};

/// Why an implementation does not serve an operation, for people: "needs groups = 1". Empty: it serves.
using Refusal = std::optional<std::string>;

struct Implementation {
  std::string name;  ///< without the provider: "implicit_gemm_tf32"
  Provider provider = Provider::reference;
  OpKey op;
  DeviceKind device = DeviceKind::cpu;
  std::function<Refusal(const OpDesc&, const DeviceInfo&)> refusal;
  std::function<std::unique_ptr<Executable>(const OpDesc&, Device&)> prepare;
  /// Small-integer operands give the exact integer result, as every sum of products does. False for
  /// algorithms that transform their operands (Winograd, FFT): `quern check` then compares within a wider
  /// tolerance only.
  bool exact = true;
  /// Knows the attributes of merged nodes (is_merged() in op.hpp). Where false, Registry::add() has it refuse
  /// them: who knows nothing of them never takes a dataset for a batch.
  bool merges = false;
  /// Kernels that a run launches, for an operation that is not refused; one where empty.
  std::function<int(const OpDesc&, const DeviceInfo&)> launches = {};

  /// "custom:implicit_gemm_tf32"
  std::string full_name() const { return std::string(to_string(provider)) + ":" + name; }
};

/// The tables. Order inside an operation's list is preference: the first that has the device and does not
/// refuse is taken.
class Registry {
 public:
  void add(Implementation implementation);
  std::span<const Implementation> candidates(OpKey op) const;

  /// Everything this build has: custom, cudnn, cublas, onednn, reference, in this order.
  /// Behind them, what extend_registries() was given.
  static Registry with_all_providers();

 private:
  std::map<OpKey, std::vector<Implementation>> tables_;
};

/// Adds "pair" to the tables of conv2d.backward and dense.backward: it serves the operation by what this
/// provider has for backward_data and backward_weights on this device, the first of each that does not
/// refuse, run one after the other; it launches what both launch. To be called when those are in the tables.
void add_backward_pairs(Registry& registry, Provider provider, DeviceKind device);

/// The halves of a conv2d.backward or dense.backward, as operations of their own.
OpDesc backward_data_half(const OpDesc& desc);
OpDesc backward_weights_half(const OpDesc& desc);

/// Has every Registry::with_all_providers() to come call `add` at its end: for programs with kernels of their
/// own, which
/// `--impl` then chooses by name. Not to be called while another thread makes a registry.
void extend_registries(void (*add)(Registry&));

/// Wraps a stateless function `void(const OpDesc&, const RunArgs&)` with a fixed workspace size.
class FunctionExecutable final : public Executable {
 public:
  using Function = std::function<void(const OpDesc&, const RunArgs&)>;
  FunctionExecutable(OpDesc desc, Function function, std::size_t workspace_bytes = 0)
      : desc_(std::move(desc)), function_(std::move(function)), workspace_bytes_(workspace_bytes) {}
  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  void run(const RunArgs& args) override { function_(desc_, args); }

 private:
  OpDesc desc_;
  Function function_;
  std::size_t workspace_bytes_;
};

// One function per provider adds its implementations; a provider missing from the build adds none.
void add_reference(Registry& registry);
void add_onednn(Registry& registry);
void add_custom(Registry& registry);
void add_cudnn(Registry& registry);
void add_cublas(Registry& registry);

}  // namespace quern
