// Whether a step is to be counted: one pass over the gradients, which the optimizer reads next.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

constexpr std::int64_t kGrain = 64;

/// Whether any value is a NaN or infinite. Without branches, so that the loop becomes vectors.
bool any_nonfinite(const float* values, std::int64_t n) {
  constexpr std::uint32_t kExponent = 0x7F800000u;
  std::uint32_t found = 0;
  for (std::int64_t i = 0; i < n; ++i)
    found |= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) == kExponent ? 1u : 0u;
  return found != 0;
}

class GuardRun final : public Executable {
 public:
  GuardRun(const OpDesc& desc, int parts)
      : parts_(parts),
        samples_(desc.inputs[0].elements()),
        elements_(desc.inputs[1].elements()),
        statistics_(desc.as<GuardAttrs>().statistics ? desc.inputs[5].bytes() : 0) {
    Layout layout;
    for (int part = 0; part < parts; ++part) verdicts_.push_back(layout.add<std::uint32_t>(1));
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    parallel(parts_, [&](int part) {
      const Range range = share(elements_, kGrain, part, parts_);
      *verdict(args, part) = any_nonfinite(input(args, 1) + range.begin, range.size()) ? 1u : 0u;
    });
    bool skip = any_nonfinite(input(args, 0), samples_);
    for (int part = 0; part < parts_; ++part) skip = skip || *verdict(args, part) != 0;

    agree(skip, args, 0, sizeof(Metrics));
    if (statistics_ > 0) agree(skip, args, 3, statistics_);
    auto& guard = *output<StepGuard>(args, 2);
    guard.skip = skip ? 1 : 0;
    guard.skipped += guard.skip;
    guard.in_a_row = skip ? guard.in_a_row + 1 : 0;
    guard.longest_row = std::max(guard.longest_row, guard.in_a_row);
  }

 private:
  std::uint32_t* verdict(const RunArgs& args, int part) const {
    return at<std::uint32_t>(args.workspace, verdicts_[static_cast<std::size_t>(part)]);
  }

  /// The output at `slot` and what is kept of it behind it: all are updated in place.
  static void agree(bool skip, const RunArgs& args, std::size_t slot, std::size_t bytes) {
    std::memcpy(args.out[skip ? slot : slot + 1], args.out[skip ? slot + 1 : slot], bytes);
  }

  int parts_;
  std::int64_t samples_, elements_;
  std::size_t statistics_;  // bytes
  std::vector<std::size_t> verdicts_;
  std::size_t bytes_ = 0;
};

}  // namespace

void add_guard(Registry& registry) {
  add_implementation(registry, "fused", {OpKind::guard, Direction::forward}, never_refuses,
                     prepare_as<GuardRun>());
}

}  // namespace quern::onednn
