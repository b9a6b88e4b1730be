#include "simt/block_order.hpp"

#include <algorithm>
#include <bit>

namespace quern::simt {

namespace {

template <std::size_t n>
void raise(std::array<std::uint32_t, n>& to, const std::array<std::uint32_t, n>& from) {
  for (std::size_t i = 0; i < n; ++i) to[i] = std::max(to[i], from[i]);
}

}  // namespace

void BlockOrder::launch_begins() {
  released_.clear();
}

void BlockOrder::block_begins(std::uint32_t block) {
  block_ = block;
  barrier_ = 0;
  warp_epoch_.fill(0);
  for (WarpKnowledge& knowledge : known_) knowledge.fill(0);
  for (WarpKnowledge& knowledge : arrivals_) knowledge.fill(0);
  for (auto& clocks : lane_clocks_) clocks.reset();
  fence_ = 0;
  fenced_.clear();
  unfenced_.clear();
  acquired_.clear();
}

void BlockOrder::warp_synchronised(int warp, std::uint32_t lanes, bool whole) {
  const auto w = static_cast<std::size_t>(warp);
  if (whole) {
    ++warp_epoch_[w];
    return;
  }
  if (lane_clocks_[w] == nullptr) lane_clocks_[w] = std::make_unique<LaneClocks>();
  LaneClocks& clocks = *lane_clocks_[w];
  std::array<std::uint32_t, kWarpSize> joined{};
  for (std::uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<std::size_t>(std::countr_zero(rest));
    raise(joined, clocks.known[lane]);
    joined[lane] = ++clocks.own[lane];
  }
  for (std::uint32_t rest = lanes; rest != 0; rest &= rest - 1)
    raise(clocks.known[static_cast<std::size_t>(std::countr_zero(rest))], joined);
}

void BlockOrder::warp_arrives(int barrier, int warp) {
  const auto w = static_cast<std::size_t>(warp);
  WarpKnowledge& arrivals = arrivals_[static_cast<std::size_t>(barrier)];
  raise(arrivals, known_[w]);
  arrivals[w] = ++warp_epoch_[w];
}

void BlockOrder::warps_released(int barrier, std::uint32_t waiting) {
  WarpKnowledge& arrivals = arrivals_[static_cast<std::size_t>(barrier)];
  for (std::uint32_t rest = waiting; rest != 0; rest &= rest - 1)
    raise(known_[static_cast<std::size_t>(std::countr_zero(rest))], arrivals);
  arrivals.fill(0);
}

bool BlockOrder::Horizon::covers(const Stamp& stamp) const {
  if (stamp.barrier < barrier) return true;
  if (stamp.thread == thread) return stamp.fence < fence;
  const auto warp = static_cast<std::size_t>(stamp.thread / kWarpSize);
  if (stamp.warp_epoch < epochs[warp]) return true;
  return stamp.thread / kWarpSize == thread / kWarpSize &&
         stamp.lane_clock < lanes[static_cast<std::size_t>(stamp.thread % kWarpSize)];
}

/// Of two fences of one thread the later one covers more.
void BlockOrder::learn(Knowledge& to, const Knowledge& from) {
  for (const auto& [who, horizon] : from) {
    std::shared_ptr<const Horizon>& known = to[who];
    if (known == nullptr || known->fence < horizon->fence) known = horizon;
  }
}

void BlockOrder::fence(int thread) {
  ++fence_;
  if (const auto seen = unfenced_.find(thread); seen != unfenced_.end()) {
    acquired_.push_back({stamp(thread, 0, Stamp::Kind::plain), std::move(seen->second)});
    unfenced_.erase(seen);
  }
  const auto warp = static_cast<std::size_t>(thread / kWarpSize);
  Horizon horizon;
  horizon.barrier = barrier_;
  horizon.fence = fence_;
  horizon.thread = static_cast<std::uint16_t>(thread);
  horizon.epochs = known_[warp];
  horizon.epochs[warp] = warp_epoch_[warp];
  if (lane_clocks_[warp] != nullptr)
    horizon.lanes = lane_clocks_[warp]->known[static_cast<std::size_t>(thread % kWarpSize)];
  Knowledge& ready = fenced_[thread];
  ready.clear();
  for (const Acquired& acquired : acquired_)
    if (ordered_within_block(acquired.when, thread)) learn(ready, acquired.knowledge);
  ready[{block_, horizon.thread}] = std::make_shared<const Horizon>(horizon);
}

void BlockOrder::atomic(int thread, const void* address) {
  Knowledge& here = released_[address];
  if (!here.empty()) learn(unfenced_[thread], here);
  if (const auto ready = fenced_.find(thread); ready != fenced_.end()) learn(here, ready->second);
}

Stamp BlockOrder::stamp(int thread, std::uint32_t place, Stamp::Kind kind) const {
  const auto warp = static_cast<std::size_t>(thread / kWarpSize);
  const auto lane = static_cast<std::size_t>(thread % kWarpSize);
  Stamp stamp;
  stamp.block = block_;
  stamp.place = place;
  stamp.barrier = barrier_;
  stamp.fence = fence_;
  stamp.warp_epoch = warp_epoch_[warp];
  stamp.lane_clock = lane_clocks_[warp] == nullptr ? 0 : lane_clocks_[warp]->own[lane];
  stamp.thread = static_cast<std::uint16_t>(thread);
  stamp.kind = kind;
  return stamp;
}

bool BlockOrder::ordered(const Stamp& earlier, int thread) const {
  if (earlier.kind == Stamp::Kind::none) return true;
  if (earlier.block == block_ && ordered_within_block(earlier, thread)) return true;
  return std::any_of(acquired_.begin(), acquired_.end(), [&](const Acquired& acquired) {
    if (!ordered_within_block(acquired.when, thread)) return false;
    auto known = acquired.knowledge.lower_bound({earlier.block, std::uint16_t{0}});
    for (; known != acquired.knowledge.end() && known->first.first == earlier.block; ++known)
      if (known->second->covers(earlier)) return true;
    return false;
  });
}

bool BlockOrder::ordered_within_block(const Stamp& earlier, int thread) const {
  if (earlier.barrier < barrier_ || earlier.thread == thread) return true;
  const auto warp = static_cast<std::size_t>(thread / kWarpSize);
  const auto other = static_cast<std::size_t>(earlier.thread / kWarpSize);
  if (warp != other) return earlier.warp_epoch < known_[warp][other];
  if (earlier.warp_epoch < warp_epoch_[warp]) return true;
  const auto& clocks = lane_clocks_[warp];
  if (clocks == nullptr) return false;
  return earlier.lane_clock < clocks->known[static_cast<std::size_t>(thread % kWarpSize)]
                                           [static_cast<std::size_t>(earlier.thread % kWarpSize)];
}

}  // namespace quern::simt
