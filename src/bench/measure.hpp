#pragma once

/// Timing prepared implementations in turns over the same operands.

#include <functional>
#include <memory>
#include <vector>

#include "check/operands.hpp"
#include "quern/implementation.hpp"
#include "quern/timeline.hpp"

namespace quern::bench {

/// Copies of an operation's operands on the device, enough that together they exceed the caches (up to a
/// limit, which small operands stay under: those live in caches in training, too).
class OperandSets {
 public:
  OperandSets(const OpDesc& desc, const check::Operands& inputs, Device& device);
  std::size_t count() const noexcept { return sets_.size(); }
  RunArgs args(std::size_t set, void* workspace) const;

  static constexpr std::size_t kFootprint = std::size_t{200} << 20;
  static constexpr std::size_t kMostSets = 64;

 private:
  struct Set {
    std::vector<Buffer> buffers;
    std::vector<void*> in, out;
  };
  Device& device_;
  std::vector<Set> sets_;
};

/// One implementation over the sets.
class Contender {
 public:
  Contender(std::unique_ptr<Executable> executable, const OperandSets& sets, Device& device,
            Timeline& timeline);
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;

  /// Runs once for every cache and clock to settle, and finds how many runs make a sample.
  void warm_up();
  /// Adds one sample: seconds of a run.
  void sample();
  const std::vector<double>& samples() const noexcept { return samples_; }

 private:
  double seconds_of(int launches);

  std::unique_ptr<Executable> executable_;
  const OperandSets& sets_;
  Timeline& timeline_;
  Buffer workspace_;
  std::size_t next_set_ = 0;
  std::size_t runs_a_launch_ = 1;
  std::function<void()> launch_;
  int launches_ = 1;
  std::vector<double> samples_;
};

}  // namespace quern::bench
