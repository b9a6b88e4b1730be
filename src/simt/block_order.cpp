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
  fences_.clear();
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

void BlockOrder::fence(int thread) {
  fences_[thread] = barrier_;
}

void BlockOrder::atomic(int thread, const void* address) {
  std::vector<Release>& here = released_[address];
  for (const Release& release : here)
    if (release.block != block_) acquired_.push_back({release, static_cast<std::uint16_t>(thread), barrier_});
  const auto fenced = fences_.find(thread);
  if (fenced == fences_.end()) return;
  // What this block had learnt of others by then is handed on with its own.
  for (const Acquired& acquired : acquired_)
    if (acquired.by == thread || acquired.barrier < fenced->second) here.push_back(acquired.release);
  here.push_back({block_, fenced->second, static_cast<std::uint16_t>(thread)});
}

Stamp BlockOrder::stamp(int thread, std::uint32_t place, Stamp::Kind kind) const {
  const auto warp = static_cast<std::size_t>(thread / kWarpSize);
  const auto lane = static_cast<std::size_t>(thread % kWarpSize);
  Stamp stamp;
  stamp.block = block_;
  stamp.place = place;
  stamp.barrier = barrier_;
  stamp.warp_epoch = warp_epoch_[warp];
  stamp.lane_clock = lane_clocks_[warp] == nullptr ? 0 : lane_clocks_[warp]->own[lane];
  stamp.thread = static_cast<std::uint16_t>(thread);
  stamp.kind = kind;
  return stamp;
}

bool BlockOrder::ordered(const Stamp& earlier, int thread) const {
  if (earlier.kind == Stamp::Kind::none) return true;
  if (earlier.block != block_) {
    return std::any_of(acquired_.begin(), acquired_.end(), [&](const Acquired& acquired) {
      const bool covers =
          acquired.release.block == earlier.block &&
          (earlier.barrier < acquired.release.barrier || earlier.thread == acquired.release.thread);
      return covers && (acquired.by == thread || acquired.barrier < barrier_);
    });
  }
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
