#pragma once

/// Chains: neighbouring nodes run depth first. A few images go through all of them before the next few, so
/// that what one node writes the next finds in the second-level cache. A value that only the chain touches
/// is never written to memory at all: every part keeps the few images of it that are on their way.
///
/// Floor: seed's first convolution at batch 64 writes 6.4 MB, which its pooling reads once; the same in the
/// other direction. At the 42 GB/s that one Xeon's third-level cache gave two cores that is 0.6 ms of a step;
/// in a chain it is nothing. Predicted 0.6 ms, measured there 6.5 -> 5.9 ms a step.
///
/// Which nodes may be chained is a matter of the plan and of what the executables say of themselves
/// (ImageWise), never of time, and has no influence on any bit of any result.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "quern/implementation.hpp"
#include "quern/plan.hpp"

namespace quern {

/// Nodes `first` to `first + links.size() - 1` of a plan, and the values that only they touch, image by
/// image.
struct ChainPlan {
  std::size_t first = 0;
  std::vector<ImageWise*> links;
  std::vector<ValueId> kept;
  std::int64_t images = 1;  ///< at a time
};

/// The chains of a plan, in order and without overlap, each of two nodes or more. `executables`: of all its
/// nodes.
std::vector<ChainPlan> find_chains(const Plan& plan,
                                   std::span<const std::unique_ptr<Executable>> executables);

class Chain {
 public:
  /// `workspace_bytes`: of each link.
  Chain(const Plan& plan, const ChainPlan& chain, std::span<const std::size_t> workspace_bytes);

  std::size_t size() const noexcept { return links_.size(); }
  std::int64_t images_at_a_time() const noexcept { return block_; }
  /// Bytes that a walk node by node would write to memory.
  std::size_t bytes_kept() const noexcept { return bytes_kept_; }
  std::size_t workspace_bytes() const noexcept { return workspace_bytes_; }

  /// `whole`: the arguments of every link in a walk node by node, which must outlive the chain or the next
  /// bind(); `workspace`: for all links together.
  void bind(std::span<const RunArgs* const> whole, void* workspace);
  void run();

 private:
  /// A value of the chain's own: where a part has the images of a block that are on their way.
  struct Kept {
    ValueId root;
    std::size_t image_bytes, offset;
  };
  /// An operand that is a kept value.
  struct Slot {
    std::size_t slot, kept;
  };
  struct Link {
    ImageWise* work;
    std::size_t workspace;  ///< its offset
    std::vector<Slot> in, out;
  };
  /// A link's operands as one part sees them.
  struct View {
    std::vector<void*> in, out;
    RunArgs args;
  };

  void run_phase(int part, int phase);
  void run_images(int part);

  std::vector<Link> links_;
  std::vector<Kept> kept_;
  std::int64_t images_ = 0, block_ = 1;
  int parts_ = 1, prepare_phases_ = 0, finish_phases_ = 0;
  std::size_t own_ = 0, own_step_ = 0;  ///< where the parts have their kept values
  std::size_t bytes_kept_ = 0, workspace_bytes_ = 0;
  std::byte* workspace_ = nullptr;
  std::vector<View> views_;  ///< [part][link]
};

}  // namespace quern
