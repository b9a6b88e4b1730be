#pragma once

/// Benchmarks of operations: every implementation on every shape, verified against the reference before it is
/// timed. What could not be verified gets no time, but a word that says why.
///
/// Times are medians over samples of at least 2 ms, taken in turns between the implementations of a shape, so
/// that a machine that slows down slows all of them. Operands are rotated between copies, so that no run
/// finds in a cache what the run before has left there. On a GPU the runs are a captured graph, replayed
/// between two events.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quern/implementation.hpp"
#include "quern/op.hpp"
#include "quern/roofline.hpp"

namespace quern {

enum class ShapeSet : std::uint8_t {
  seed,    ///< the nodes of a training step of the models seed and seed-bn
  resnet,  ///< the nodes of resnet-tiny
  sweep,   ///< convolutions, dense layers and batch norms over a grid of extents and channels
};
const char* to_string(ShapeSet set) noexcept;
ShapeSet parse_shape_set(std::string_view text);  ///< throws an input error that lists them

/// An operation in fp32 under a name that no other of its set has: "seed-bn:conv1.forward/n64".
struct BenchShape {
  std::string name;
  OpDesc desc;
};
/// In a fixed order: by batch, then by node. Equal operations appear once.
std::vector<BenchShape> bench_shapes(ShapeSet set, const std::vector<std::int64_t>& batches);

enum class BenchStatus : std::uint8_t {
  timed,        ///< verified, then timed
  unsupported,  ///< it refused, and said why
  failed,       ///< it is wrong, or threw: no time
};
const char* to_string(BenchStatus status) noexcept;

struct BenchResult {
  std::string shape;
  OpKey op;
  std::string implementation;
  Provider provider = Provider::reference;
  BenchStatus status = BenchStatus::failed;
  std::string reason;                ///< of a refusal or failure
  double seconds = 0;                ///< median of a run
  double spread = 0;                 ///< first to last decile of the samples, as a share of the median
  double gflops = 0, gigabytes = 0;  ///< 1e9 a second, by cost()
  double of_roofline = 0;            ///< share: floor of the operation over the measured time
  std::optional<double> vs_library;  ///< time of the fastest library (onednn; cudnn, cublas) over this one
  int samples = 0, sets = 0;         ///< copies of the operands
};

struct BenchOptions {
  std::string device = "auto";
  int threads = 0;
  std::string op;              ///< "conv2d", "conv2d.forward"; empty: all
  std::string implementation;  ///< as for `quern check`; empty: all but the reference, which is what verifies
  ShapeSet shapes = ShapeSet::seed;
  std::vector<std::int64_t> batches{64};
  Precision precision = Precision::fp32;
  int samples = 11;
  /// Called before each shape with its name, its number and how many there are.
  std::function<void(const std::string& name, std::size_t index, std::size_t count)> progress;
};

struct BenchReport {
  DeviceInfo device;
  Precision precision = Precision::fp32;
  ShapeSet shapes = ShapeSet::seed;
  Roofline roofline;
  std::vector<BenchResult> results;  ///< by shape, then in the order of the registry's tables

  /// Geometric mean of vs_library over what was timed and is no library; empty where there is none.
  std::optional<double> mean_vs_library() const;
  /// 0 if something was timed and nothing failed, else 1.
  int exit_status() const;
};

/// Input errors: the emulator, unknown operation or implementation, no batch.
BenchReport run_bench(const Registry& registry, const BenchOptions& options);

std::string format_bench(const BenchReport& report);
std::string bench_json(const BenchReport& report);

}  // namespace quern
