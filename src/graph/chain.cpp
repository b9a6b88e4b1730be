#include "graph/chain.hpp"

#include <algorithm>
#include <set>

#include <unistd.h>

#include "graph/liveness.hpp"

namespace quern {
namespace {

std::size_t cache_bytes() {
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : std::size_t{1} << 20;
}

constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

const Node& node_at(const Plan& plan, std::size_t index) {
  return plan.graph.nodes[static_cast<std::size_t>(plan.nodes[index].node)];
}

/// An operand of a link: which bytes of which value, and whether they are cut by images.
struct Operand {
  ValueId root;
  std::size_t begin, end;
  bool by_image, written;
  bool meets(const Operand& other) const {
    return root == other.root && begin < other.end && other.begin < end;
  }
};

/// The longest chain from one node on.
class Search {
 public:
  Search(const Plan& plan, const std::vector<Life>& lives,
         std::span<const std::unique_ptr<Executable>> executables, std::size_t first)
      : plan_(plan), lives_(lives), first_(first) {
    std::size_t longest = 0;
    for (std::size_t i = first; i < executables.size(); ++i) {
      ImageWise* next = executables[i]->image_wise();
      if (next == nullptr || !works_like_the_first(*next, i)) break;
      const std::vector<Operand> operands = operands_of(*next, i);
      if (!follows(operands)) break;
      work_.push_back(next);
      links_.push_back(operands);
      if (!fits_the_cache() || (i > first && !reads_kept())) break;
      if (keeps_apart()) longest = links_.size();
    }
    work_.resize(longest);
    links_.resize(longest);
  }

  ChainPlan result() const {
    std::set<ValueId> kept, by_image;
    for (const auto& link : links_)
      for (const Operand& operand : link) {
        if (stays_inside(operand.root)) kept.insert(operand.root);
        if (operand.by_image) by_image.insert(operand.root);
      }
    return {first_, work_, {kept.begin(), kept.end()}, images_at_a_time(by_image)};
  }

 private:
  bool works_like_the_first(const ImageWise& next, std::size_t index) const {
    if (work_.empty()) return next.images() % next.parts() == 0;
    const ImageWise& first = *work_[0];
    return next.team() == first.team() && next.parts() == first.parts() && next.images() == first.images() &&
           node_at(plan_, index).phase == node_at(plan_, first_).phase;
  }

  std::vector<Operand> operands_of(const ImageWise& work, std::size_t index) const {
    const Node& node = node_at(plan_, index);
    std::vector<Operand> list;
    for (std::size_t slot = 0; slot < node.inputs.size(); ++slot)
      list.push_back(operand(node.inputs[slot], work.reads_by_image(slot), work, false));
    for (std::size_t slot = 0; slot < node.outputs.size(); ++slot)
      list.push_back(operand(node.outputs[slot], work.writes_by_image(slot), work, true));
    return list;
  }

  /// A part of another value is not cut by images.
  Operand operand(ValueId id, bool by_image, const ImageWise& work, bool written) const {
    const ValueId root = plan_.graph.root(id);
    const std::size_t begin = plan_.graph.root_offset(id), bytes = plan_.graph.value(id).desc.bytes();
    const bool whole = begin == 0 && bytes == plan_.graph.value(root).desc.bytes() &&
                       bytes % static_cast<std::size_t>(work.images()) == 0;
    return {root, begin, begin + bytes, by_image && whole, written};
  }

  /// What one writes and another touches, both must cut by images: every image is then touched in the order
  /// of the links.
  bool follows(const std::vector<Operand>& operands) const {
    for (const Operand& own : operands)
      for (const auto& link : links_)
        for (const Operand& other : link)
          if (own.meets(other) && (own.written || other.written) && !(own.by_image && other.by_image))
            return false;
    return true;
  }

  /// Whether the last link reads a value of the chain's own. Where all values go to memory anyway, a chain
  /// saves at most one read of the cache behind, and costs its links the use of the one before.
  bool reads_kept() const {
    return std::ranges::any_of(links_.back(), [&](const Operand& operand) {
      return !operand.written && stays_inside(operand.root);
    });
  }

  /// One link may fill the cache with its weights and scratch. Two would fetch them again for every cut,
  /// which costs more than the images save.
  bool fits_the_cache() const {
    return std::ranges::count_if(
               work_, [](const ImageWise* work) { return work->resident_bytes() > cache_bytes() / 4; }) <= 1;
  }

  /// The arena was laid out for nodes that run one after the other: what a link writes may lie where an
  /// earlier one still reads or writes.
  bool keeps_apart() const {
    for (std::size_t later = 1; later < links_.size(); ++later)
      for (const Operand& own : links_[later])
        for (std::size_t earlier = 0; own.written && earlier < later; ++earlier)
          for (const Operand& other : links_[earlier])
            if (own.root != other.root && overlap(own.root, other.root)) return false;
    return true;
  }

  bool overlap(ValueId a, ValueId b) const {
    if (stays_inside(a) || stays_inside(b)) return false;
    const Value &first = plan_.graph.value(a), &second = plan_.graph.value(b);
    if (first.storage != Storage::transient || second.storage != Storage::transient) return false;
    const std::size_t at = plan_.offsets[static_cast<std::size_t>(a)];
    const std::size_t other = plan_.offsets[static_cast<std::size_t>(b)];
    return at < other + second.desc.bytes() && other < at + first.desc.bytes();
  }

  /// Whether nobody but the links touches a value, and they image by image.
  bool stays_inside(ValueId root) const {
    const Life& life = lives_[static_cast<std::size_t>(root)];
    if (plan_.graph.value(root).storage != Storage::transient || life.first < plan_.nodes[first_].node ||
        life.last > plan_.nodes[first_ + links_.size() - 1].node)
      return false;
    for (const auto& link : links_)
      for (const Operand& operand : link)
        if (operand.root == root && !operand.by_image) return false;
    return true;
  }

  /// So many images that those of all links take a quarter of the cache, beside weights and scratch.
  std::int64_t images_at_a_time(const std::set<ValueId>& by_image) const {
    if (plan_.chains.images > 0) return plan_.chains.images;
    if (work_.empty()) return 1;
    const std::int64_t images = work_[0]->images();
    std::int64_t granule = 1;
    for (const ImageWise* work : work_) granule = std::max(granule, work->granule());
    std::size_t image_bytes = 1;
    for (const ValueId root : by_image)
      image_bytes += plan_.graph.value(root).desc.bytes() / static_cast<std::size_t>(images);
    const auto fitting = static_cast<std::int64_t>(cache_bytes() / 4 / image_bytes);
    return std::clamp(fitting / granule * granule, granule, std::max(granule, images));
  }

  const Plan& plan_;
  const std::vector<Life>& lives_;
  std::size_t first_;
  std::vector<ImageWise*> work_;
  std::vector<std::vector<Operand>> links_;
};

}  // namespace

std::vector<ChainPlan> find_chains(const Plan& plan,
                                   std::span<const std::unique_ptr<Executable>> executables) {
  std::vector<ChainPlan> chains;
  if (!plan.chains.enabled) return chains;
  const std::vector<Life> lives = liveness(plan.graph);
  for (std::size_t i = 0; i < executables.size(); ++i) {
    ChainPlan chain = Search(plan, lives, executables, i).result();
    if (chain.links.size() < 2) continue;
    i += chain.links.size() - 1;
    chains.push_back(std::move(chain));
  }
  return chains;
}

Chain::Chain(const Plan& plan, const ChainPlan& chain, std::span<const std::size_t> workspace_bytes)
    : images_(chain.links[0]->images()), block_(chain.images), parts_(chain.links[0]->parts()) {
  for (const ValueId root : chain.kept) {
    const std::size_t bytes = plan.graph.value(root).desc.bytes();
    const std::size_t image_bytes = bytes / static_cast<std::size_t>(images_);
    kept_.push_back({root, image_bytes, own_step_});
    own_step_ += aligned(image_bytes * static_cast<std::size_t>(block_));
    bytes_kept_ += bytes;
  }
  for (std::size_t i = 0; i < chain.links.size(); ++i) {
    const Node& node = node_at(plan, chain.first + i);
    Link link{chain.links[i], workspace_bytes_, {}, {}};
    for (std::size_t kept = 0; kept < kept_.size(); ++kept) {
      for (std::size_t slot = 0; slot < node.inputs.size(); ++slot)
        if (plan.graph.root(node.inputs[slot]) == kept_[kept].root) link.in.push_back({slot, kept});
      for (std::size_t slot = 0; slot < node.outputs.size(); ++slot)
        if (plan.graph.root(node.outputs[slot]) == kept_[kept].root) link.out.push_back({slot, kept});
    }
    prepare_phases_ = std::max(prepare_phases_, link.work->prepare_phases());
    finish_phases_ = std::max(finish_phases_, link.work->finish_phases());
    workspace_bytes_ += aligned(workspace_bytes[i]);
    links_.push_back(std::move(link));
  }
  own_ = workspace_bytes_;
  workspace_bytes_ += own_step_ * static_cast<std::size_t>(parts_);
}

void Chain::bind(std::span<const RunArgs* const> whole, void* workspace) {
  workspace_ = static_cast<std::byte*>(workspace);
  views_.clear();
  views_.resize(static_cast<std::size_t>(parts_) * links_.size());
  for (std::size_t i = 0; i < views_.size(); ++i) {
    const RunArgs& args = *whole[i % links_.size()];
    View& view = views_[i];
    view.in.assign(args.in.begin(), args.in.end());
    view.out.assign(args.out.begin(), args.out.end());
    view.args = {view.in, view.out, workspace_ + links_[i % links_.size()].workspace, args.stream};
  }
}

void Chain::run() {
  links_[0].work->team()(parts_, prepare_phases_ + 1 + finish_phases_,
                         [this](int part, int phase) { run_phase(part, phase); });
}

void Chain::run_phase(int part, int phase) {
  if (phase == prepare_phases_) {
    run_images(part);
    return;
  }
  const bool prepares = phase < prepare_phases_;
  if (!prepares) phase -= prepare_phases_ + 1;
  const View* view = &views_[static_cast<std::size_t>(part) * links_.size()];
  for (const Link& link : links_) {
    if (prepares && phase < link.work->prepare_phases()) link.work->prepare(view->args, phase, part);
    if (!prepares && phase < link.work->finish_phases()) link.work->finish(view->args, phase, part);
    ++view;
  }
}

void Chain::run_images(int part) {
  View* const views = &views_[static_cast<std::size_t>(part) * links_.size()];
  std::byte* const own = workspace_ + own_ + own_step_ * static_cast<std::size_t>(part);
  const std::int64_t last = images_ * (part + 1) / parts_;
  for (std::int64_t begin = images_ * part / parts_; begin < last; begin += block_) {
    const std::int64_t end = std::min(begin + block_, last);
    // Where image 0 would be, if all of them were there. As integers: a pointer may not leave its array.
    const auto place = [&](const Kept& kept) {
      return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(own + kept.offset) -
                                     static_cast<std::uintptr_t>(begin) * kept.image_bytes);
    };
    for (std::size_t i = 0; i < links_.size(); ++i) {
      for (const Slot& slot : links_[i].in) views[i].in[slot.slot] = place(kept_[slot.kept]);
      for (const Slot& slot : links_[i].out) views[i].out[slot.slot] = place(kept_[slot.kept]);
      links_[i].work->run_images(views[i].args, part, begin, end);
    }
  }
}

}  // namespace quern
